package lambda

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"
)

// runtimeAPI is the interface between an instance's process and the host
// (https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html), on the instance's own port: its
// paths are fixed, so only the port tells instances apart.
func (i *instance) runtimeAPI() http.Handler {
	mux := http.NewServeMux()
	const root = "/2018-06-01/runtime"
	mux.HandleFunc("GET "+root+"/invocation/next", i.next)
	mux.HandleFunc("POST "+root+"/invocation/{id}/response", func(w http.ResponseWriter, r *http.Request) { i.post(w, r, false) })
	mux.HandleFunc("POST "+root+"/invocation/{id}/error", func(w http.ResponseWriter, r *http.Request) { i.post(w, r, true) })
	mux.HandleFunc("POST "+root+"/init/error", i.failInit)
	return mux
}

func (i *instance) next(w http.ResponseWriter, r *http.Request) {
	poll := make(chan *invocation, 1)
	select {
	case i.polls <- poll:
	case <-r.Context().Done():
		return
	}
	select {
	case inv := <-poll:
		deadline := time.Now().Add(i.f.Timeout).UnixMilli()
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Lambda-Runtime-Aws-Request-Id", inv.id)
		h.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(deadline, 10))
		h.Set("Lambda-Runtime-Invoked-Function-Arn", i.f.arn)
		h.Set("Lambda-Runtime-Trace-Id", "Root=1-"+strconv.FormatInt(time.Now().Unix(), 16)+"-"+inv.id[:8]+inv.id[9:13]+inv.id[14:18]+inv.id[19:23]+inv.id[24:28]+";Sampled=0")
		_, _ = w.Write(inv.payload)
	case <-r.Context().Done():
	}
}

func (i *instance) post(w http.ResponseWriter, r *http.Request, failed bool) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPayload))
	result := Result{Payload: body, Failed: failed}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		result = errorShape("Function.ResponseSizeTooLarge", "Response payload size exceeded maximum allowed payload size ("+strconv.Itoa(maxPayload)+" bytes).")
	} else if err != nil {
		return // the process went away; its exit is the answer
	}
	a := answer{id: r.PathValue("id"), result: result, taken: make(chan bool, 1)}
	select {
	case i.answers <- a:
	case <-r.Context().Done():
		return
	}
	w.Header().Set("Content-Type", "application/json")
	switch {
	case !<-a.taken:
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"errorType":"InvalidRequestID","errorMessage":"no such request is in progress"}`)
	case tooLarge != nil:
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		_, _ = w.Write(result.Payload)
	default:
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, `{"status":"OK"}`)
	}
}

func (i *instance) failInit(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPayload))
	if err != nil {
		return
	}
	select {
	case i.initErr <- Result{Payload: body, Failed: true}:
	default:
	}
	w.WriteHeader(http.StatusAccepted)
	_, _ = io.WriteString(w, `{"status":"OK"}`)
}
