// Command fn is a function for tests: its request says what to do. It speaks the runtime API itself,
// so that the tests see the bytes that cross it.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

type request struct {
	Do          string // echo, env, fail, crash, hang, wait, proxy
	File        string // wait: until it exists
	Name        string // env: the variable
	Times       int
	RequestType string // of a custom resource
	ResponseURL string
	Path        string // of API Gateway
}

func main() {
	base := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime"
	fmt.Println("started", os.Getpid())
	switch os.Getenv("INIT") {
	case "crash":
		os.Exit(3)
	case "error":
		post(base+"/init/error", []byte(`{"errorType":"Bad.Config","errorMessage":"no table"}`))
		os.Exit(1)
	}
	for {
		response, err := http.Get(base + "/invocation/next")
		if err != nil {
			os.Exit(4)
		}
		raw, _ := io.ReadAll(response.Body)
		response.Body.Close()
		id := response.Header.Get("Lambda-Runtime-Aws-Request-Id")
		answer, failed := handle(raw, id)
		if failed {
			post(base+"/invocation/"+id+"/error", answer)
		} else {
			post(base+"/invocation/"+id+"/response", answer)
		}
	}
}

func post(url string, body []byte) {
	response, err := http.Post(url, "application/json", bytes.NewReader(body))
	if err != nil {
		os.Exit(5)
	}
	response.Body.Close()
}

func handle(raw []byte, id string) (answer []byte, failed bool) {
	var r request
	_ = json.Unmarshal(raw, &r)
	if r.RequestType != "" {
		custom(raw, r.ResponseURL)
		return []byte("null"), false
	}
	switch r.Do {
	case "env":
		return encode(map[string]any{"value": os.Getenv(r.Name), "all": os.Environ(), "pid": os.Getpid()}), false
	case "fail":
		return []byte(`{"errorType":"Mine","errorMessage":"on purpose"}`), true
	case "crash":
		os.Exit(7)
	case "hang":
		time.Sleep(time.Hour)
	case "big":
		return encode(strings.Repeat("x", 7<<20)), false
	case "wait":
		for {
			if _, err := os.Stat(r.File); err == nil {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		return encode(map[string]any{"pid": os.Getpid(), "id": id}), false
	}
	if keep := os.Getenv("KEEP"); keep == "fail" {
		return []byte(`{"errorType":"Mine","errorMessage":"on purpose"}`), true
	} else if keep != "" { // remember every request in a file
		f, err := os.OpenFile(keep, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			os.Exit(6)
		}
		_, _ = f.Write(append(raw, '\n'))
		_ = f.Close()
	}
	if answer, given := os.LookupEnv("ANSWER"); given { // whatever the request is
		return []byte(answer), false
	}
	if r.Path != "" { // API Gateway: echo the event as the body
		return encode(map[string]any{"statusCode": 200, "headers": map[string]string{"X-Echo": "1"}, "body": string(raw)}), false
	}
	return raw, false
}

func custom(raw []byte, url string) {
	var event map[string]any
	_ = json.Unmarshal(raw, &event)
	body := encode(map[string]any{
		"Status": "SUCCESS", "PhysicalResourceId": "custom-1", "StackId": event["StackId"], "RequestId": event["RequestId"],
		"LogicalResourceId": event["LogicalResourceId"], "Data": map[string]any{"Version": "1", "Pin": "pin"},
	})
	request, err := http.NewRequest(http.MethodPut, url, bytes.NewReader(body))
	if err != nil {
		return
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		fmt.Println("custom:", err)
		return
	}
	text, _ := io.ReadAll(response.Body)
	response.Body.Close()
	fmt.Println("custom:", response.Status, string(text))
}

func encode(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return raw
}
