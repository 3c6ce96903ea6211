package apigateway

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// accessLogSetting is where a stage logs requests, and how.
type accessLogSetting struct{ DestinationArn, Format string }

// accessLog writes a line for each request of a stage.
type accessLog struct {
	mu           sync.Mutex
	path, format string
}

var (
	logGroupARN = regexp.MustCompile(`^arn:[^:]+:logs:[^:]+:[0-9]{12}:log-group:([A-Za-z0-9_/.#-]+)$`)
	variable    = regexp.MustCompile(`\$[A-Za-z][A-Za-z.]*`)
)

// openLog checks a setting. The account must have a role for logs, without which AWS refuses the first deployment; here
// that is a directory for them.
func (g *Gateway) openLog(s *accessLogSetting) (*accessLog, error) {
	if s == nil {
		return nil, nil //nolint:nilnil // no log
	}
	if g.LogDir == "" {
		return nil, errors.New("CloudWatch Logs role ARN must be set in account settings to enable logging")
	}
	group := logGroupARN.FindStringSubmatch(s.DestinationArn)
	if group == nil {
		return nil, fmt.Errorf("DestinationArn %q is not a log group's ARN, without :* at its end", s.DestinationArn)
	}
	if !strings.Contains(s.Format, "$context.requestId") {
		return nil, errors.New("Format must contain $context.requestId") //nolint:staticcheck // the property's name
	}
	for _, name := range variable.FindAllString(s.Format, -1) {
		if _, known := variables[name]; !known {
			return nil, fmt.Errorf("the variable %s is not known here", name)
		}
	}
	return &accessLog{path: filepath.Join(g.LogDir, filepath.Base(group[1])+".log"), format: s.Format}, nil
}

// served is what a line can tell of a request.
type served struct {
	request *http.Request
	exchange
	answer *counted
	ms     int64
}

// variables are those that may stand in a format; what there is nothing to say about is a hyphen.
var variables = map[string]func(served) string{
	"$context.requestId":           func(s served) string { return s.id },
	"$context.requestTimeEpoch":    func(s served) string { return strconv.FormatInt(s.began.UnixMilli(), 10) },
	"$context.identity.sourceIp":   func(s served) string { source, _, _ := net.SplitHostPort(s.request.RemoteAddr); return source },
	"$context.httpMethod":          func(s served) string { return s.request.Method },
	"$context.resourcePath":        func(s served) string { return s.match.resource },
	"$context.status":              func(s served) string { return strconv.Itoa(s.answer.status) },
	"$context.responseLength":      func(s served) string { return strconv.Itoa(s.answer.bytes) },
	"$context.responseLatency":     func(s served) string { return strconv.FormatInt(s.ms, 10) },
	"$context.error.responseType":  func(s served) string { return refusals[s.answer.refusal] },
	"$context.integration.latency": func(s served) string { return s.invoked(strconv.FormatInt(s.ms, 10)) },
	"$context.integration.status":  func(s served) string { return s.invoked("200") },
	"$context.integration.error":   func(served) string { return "" }, // what AWS says there is not known
}

// invoked is a value of a request that a function answered.
func (s served) invoked(value string) string {
	if s.answer.refusal != "" {
		return ""
	}
	return value
}

// refusals are the types of the gateway's own answers, by the error that a client sees.
var refusals = map[string]string{
	"TooManyRequestsException":            "THROTTLED",
	"MissingAuthenticationTokenException": "MISSING_AUTHENTICATION_TOKEN",
	"RequestTooLargeException":            "REQUEST_TOO_LARGE",
	"InternalServerErrorException":        "INTEGRATION_FAILURE",
}

// counted notes what is answered.
type counted struct {
	http.ResponseWriter
	status, bytes int
	refusal       string // the gateway's own, "" for a function's answer
}

func (c *counted) WriteHeader(status int) {
	c.status = status
	c.ResponseWriter.WriteHeader(status)
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.bytes += n
	return n, err
}

// logAccess appends a request's line. A log that can't be written is told to whoever reads the gateway's own.
func (g *Gateway) logAccess(l *accessLog, r *http.Request, x exchange, c *counted) {
	s := served{r, x, c, g.Now().Sub(x.began).Milliseconds()}
	line := variable.ReplaceAllStringFunc(l.format, func(name string) string {
		if value := variables[name](s); value != "" {
			return value
		}
		return "-"
	})
	if err := l.append(line + "\n"); err != nil {
		g.Log.Error("The access log could not be written", "cause", err.Error())
	}
}

func (l *accessLog) append(line string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, err := os.OpenFile(l.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("opening the access log: %w", err)
	}
	_, err = f.WriteString(line)
	return errors.Join(err, f.Close())
}
