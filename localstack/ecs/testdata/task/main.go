// Command task is a container for tests: it listens where STILE_LISTEN says, and answers each connection with its
// environment, the credentials that its endpoint gives it, and what it can see, write and call. STILE_EXIT has it end with
// a fault after so long.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

func main() {
	if after, err := time.ParseDuration(os.Getenv("STILE_EXIT")); err == nil {
		exit := func() { fmt.Println("broken"); os.Exit(1) }
		if after == 0 {
			exit()
		}
		time.AfterFunc(after, exit)
	}
	listener, err := net.Listen("tcp", os.Getenv("STILE_LISTEN"))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	go func() {
		<-ended
		os.Exit(0)
	}()
	fmt.Println("listening", listener.Addr())
	var one sync.Mutex // who only looks whether somebody listens gets an answer as well, and would write where another looks
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			one.Lock()
			defer one.Unlock()
			_ = json.NewEncoder(conn).Encode(map[string]any{"pid": os.Getpid(), "env": os.Environ(), "credentials": credentials(), "uid": os.Getuid(), "files": files(), "wrote": wrote(), "tls": tls()})
		}()
	}
}

func credentials() string {
	request, err := http.NewRequest(http.MethodGet, os.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI"), nil)
	if err != nil {
		return err.Error()
	}
	request.Header.Set("Authorization", os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN"))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	raw, _ := io.ReadAll(response.Body)
	return string(raw)
}

func files() (list []string) {
	for _, dir := range tried {
		_ = os.Remove(filepath.Join(dir, "written"))
	}
	_ = filepath.WalkDir("/", func(path string, d fs.DirEntry, _ error) error {
		if len(list) < 100 && d != nil && !d.IsDir() {
			list = append(list, path)
		}
		return nil
	})
	return list
}

// tried are the places that wrote tries, and a task that was killed there leaves its file.
var tried = []string{"/", "/etc", "/var/lib/task"}

func wrote() (list []string) {
	for _, dir := range tried {
		path := filepath.Join(dir, "written")
		if os.WriteFile(path, nil, 0o600) == nil {
			_ = os.Remove(path)
			list = append(list, dir)
		}
	}
	return list
}

func tls() string {
	url := os.Getenv("TLS_URL")
	if url == "" {
		return ""
	}
	response, err := http.Get(url)
	if err != nil {
		return err.Error()
	}
	response.Body.Close()
	return response.Status
}
