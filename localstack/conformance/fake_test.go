package conformance_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"encoding/xml"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stile-dev/stile/localstack/iam"
	"github.com/stile-dev/stile/localstack/template"
)

// The prefixes of a run under test and of another, whose name goes on where the first one's ends.
const (
	mine    = "stile-conformance-mine"
	another = mine + "2"
)

// fake stands in for AWS so that the way to a real account can be tested: a local account of its own, before which it
// speaks CloudFormation's protocol, and the few operations that cleaning up needs and the local AWS has not.
type fake struct {
	*local
	t      *testing.T
	server *httptest.Server
	admin  iam.Credentials
	gate   *httputil.ReverseProxy
	broken string      // the X-Amz-Target of an operation that is refused
	stuck  string      // and of one that is never answered
	keyed  []byte      // the public key of every key, if it isn't the key's own
	made   chan string // told of every stack that was made; nobody has to listen

	mu     sync.Mutex
	stacks []*fakeStack
	keys   map[string]string // the suite's tag of a key, by id
	tables map[string]string // the suite's tag of a table, by name
}

// fakeStack is what DescribeStacks tells of a stack.
type fakeStack struct {
	ID, Name, Status, Reason, Tag string
	Outputs                       map[string]string
}

func newFake(t *testing.T) *fake {
	t.Helper()
	l, stop, err := listen(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{local: l, t: t, made: make(chan string, 100), keys: map[string]string{}, tables: map[string]string{}}
	f.server = httptest.NewServer(f)
	t.Cleanup(func() {
		f.server.Close()
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	to, err := url.Parse(l.endpoint)
	if err != nil {
		t.Fatal(err)
	}
	f.gate = &httputil.ReverseProxy{ErrorLog: log.New(io.Discard, "", 0), Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host = to.Scheme, to.Host // Host stays the one that was signed
	}}
	role, err := l.cloud.Authority.PutRole(iam.Role{
		Name: "operator", Trust: json.RawMessage(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + localAccount + `:root"},"Action":"sts:AssumeRole"}}`),
		Inline: map[string]iam.Inline{"all": {Document: json.RawMessage(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`)}},
	})
	if err == nil {
		f.admin, err = l.cloud.Authority.Mint(role.ARN, "operator", time.Hour)
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// environment is what whoever runs the suite has in the shell.
func (f *fake) environment() []string {
	path := filepath.Join(f.dir, "api.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.api.Certificate().Raw})
	if err := os.WriteFile(path, block, 0o600); err != nil {
		f.t.Fatal(err)
	}
	return append(os.Environ(), "AWS_ENDPOINT_URL="+f.server.URL, "AWS_REGION="+localRegion, "SSL_CERT_FILE="+path,
		"AWS_ACCESS_KEY_ID="+f.admin.AccessKeyID, "AWS_SECRET_ACCESS_KEY="+f.admin.SecretAccessKey, "AWS_SESSION_TOKEN="+f.admin.SessionToken,
		"AWS_CONFIG_FILE="+os.DevNull, "AWS_SHARED_CREDENTIALS_FILE="+os.DevNull)
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the process that was sending it has ended
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	_, versions := r.URL.Query()["versions"]
	target := r.Header.Get("X-Amz-Target")
	switch {
	case target != "" && target == f.broken:
		http.Error(w, `{"__type":"AccessDeniedException"}`, http.StatusBadRequest)
	case target != "" && target == f.stuck:
		<-r.Context().Done()
	case target == "TrentService.GetPublicKey" && f.keyed != nil:
		_ = json.NewEncoder(w).Encode(map[string][]byte{"PublicKey": f.keyed})
	case strings.Contains(r.Header.Get("Authorization"), "/cloudformation/aws4_request"):
		f.cloudFormation(w, r)
	case versions:
		f.versions(w, strings.Trim(r.URL.Path, "/"))
	case target == "DynamoDB_20120810.CreateTable":
		f.createTable(w, r)
	case target == "DynamoDB_20120810.ListTagsOfResource":
		f.listTableTags(w, r)
	case target == "TrentService.ListResourceTags":
		f.listKeyTags(w, r)
	default:
		f.gate.ServeHTTP(w, r)
	}
}

// cloudFormation answers an operation of the Query protocol.
func (f *fake) cloudFormation(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		f.t.Error(err)
	}
	action, name := r.Form.Get("Action"), r.Form.Get("StackName")
	s := f.find(name)
	result := ""
	switch {
	case action == "CreateStack" && s != nil:
		f.refuse(w, "AlreadyExistsException", name)
		return
	case action == "CreateStack":
		result = f.make(r.Form)
	case action == "DescribeStacks" && name == "":
		result = f.describe(f.left()...)
	case s == nil:
		f.refuse(w, "ValidationError", "Stack with id "+name+" does not exist")
		return
	case action == "UpdateStack":
		f.mu.Lock()
		s.Tag = tagIn(r.Form)
		f.mu.Unlock()
		f.deploy(s, r.Form, "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE")
	case action == "DescribeStacks":
		result = f.describe(s)
	case action == "DescribeStackEvents":
		result = "<StackEvents><member><LogicalResourceId>Custom</LogicalResourceId><ResourceType>Custom::StileConformance</ResourceType>" +
			"<ResourceStatus>CREATE_FAILED</ResourceStatus><ResourceStatusReason>" + escape(s.Reason) + "</ResourceStatusReason></member></StackEvents>"
	case action == "DescribeStackResources":
		result = "<StackResources>" + f.bucketOf(s) + "</StackResources>"
	case action == "DeleteStack":
		f.mu.Lock()
		s.Status = "DELETE_COMPLETE"
		f.mu.Unlock()
	default:
		f.t.Errorf("the suite calls %s of CloudFormation", action)
	}
	fmt.Fprintf(w, "<%[1]sResponse><%[1]sResult>%[2]s</%[1]sResult></%[1]sResponse>", action, result)
}

// find returns the stack of an id, or that stands under a name; nil if there is none.
func (f *fake) find(name string) *fakeStack {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.IndexFunc(f.stacks, func(s *fakeStack) bool { return s.ID == name || s.Name == name && s.Status != "DELETE_COMPLETE" })
	if i < 0 {
		return nil
	}
	return f.stacks[i]
}

// left lists the stacks that were not deleted.
func (f *fake) left() []*fakeStack {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(f.stacks), func(s *fakeStack) bool { return s.Status == "DELETE_COMPLETE" })
}

func (f *fake) refuse(w http.ResponseWriter, code, message string) {
	w.WriteHeader(http.StatusBadRequest)
	fmt.Fprintf(w, "<ErrorResponse><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error></ErrorResponse>", code, escape(message))
}

func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a Builder takes everything
	return b.String()
}

// make creates a stack, and returns the result of CreateStack.
func (f *fake) make(form url.Values) string {
	name := form.Get("StackName")
	s := &fakeStack{ID: "arn:aws:cloudformation:" + localRegion + ":" + localAccount + ":stack/" + name + "/1", Name: name, Tag: tagIn(form)}
	if form.Get("Capabilities.member.1") != "CAPABILITY_NAMED_IAM" {
		f.t.Errorf("stack %s without its capability", name)
	}
	f.deploy(s, form, "CREATE_COMPLETE", "ROLLBACK_COMPLETE")
	f.mu.Lock()
	f.stacks = append(f.stacks, s)
	f.mu.Unlock()
	f.made <- name
	return "<StackId>" + s.ID + "</StackId>"
}

// tagIn is the value of the suite's tag in a request.
func tagIn(form url.Values) string {
	if form.Get("Tags.member.1.Key") != tag {
		return ""
	}
	return form.Get("Tags.member.1.Value")
}

// deploy brings a stack's template into the local account.
func (f *fake) deploy(s *fakeStack, form url.Values, well, badly string) {
	parameters := map[string]string{}
	for i := 1; form.Get(fmt.Sprintf("Parameters.member.%d.ParameterKey", i)) != ""; i++ {
		parameters[form.Get(fmt.Sprintf("Parameters.member.%d.ParameterKey", i))] = form.Get(fmt.Sprintf("Parameters.member.%d.ParameterValue", i))
	}
	t, err := template.Parse([]byte(form.Get("TemplateBody")))
	var outputs map[string]string
	if err == nil {
		outputs, err = f.deployer.Deploy(context.Background(), template.Stack{Name: s.Name, Template: t, Parameters: parameters})
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	s.Status, s.Outputs = well, outputs
	if err != nil {
		s.Status, s.Reason = badly, err.Error()
	}
}

func (f *fake) describe(list ...*fakeStack) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var b strings.Builder
	b.WriteString("<Stacks>")
	for _, s := range list {
		fmt.Fprintf(&b, "<member><StackId>%s</StackId><StackName>%s</StackName><StackStatus>%s</StackStatus><Outputs>", s.ID, s.Name, s.Status)
		for key, value := range s.Outputs {
			if strings.Contains(value, ".execute-api.") {
				value = "https://" + f.api.Listener.Addr().String() + "/prod"
			}
			fmt.Fprintf(&b, "<member><OutputKey>%s</OutputKey><OutputValue>%s</OutputValue></member>", key, escape(value))
		}
		b.WriteString("</Outputs><Tags>")
		if s.Tag != "" {
			fmt.Fprintf(&b, "<member><Key>%s</Key><Value>%s</Value></member>", tag, s.Tag)
		}
		b.WriteString("</Tags></member>")
	}
	return b.String() + "</Stacks>"
}

func (f *fake) bucketOf(s *fakeStack) string {
	if !strings.HasSuffix(s.Name, "-store") || s.Status == "DELETE_COMPLETE" {
		return ""
	}
	return "<member><LogicalResourceId>Bucket</LogicalResourceId><ResourceType>AWS::S3::Bucket</ResourceType>" +
		"<ResourceStatus>CREATE_COMPLETE</ResourceStatus><PhysicalResourceId>" + s.Outputs["Bucket"] + "</PhysicalResourceId></member>"
}

// standing names the stacks that were not deleted.
func (f *fake) standing() []string {
	names := []string{}
	for _, s := range f.left() {
		names = append(names, s.Name)
	}
	return names
}

// stack makes a stack of the template store as somebody's, by the tag.
func (f *fake) stack(name, owner string) {
	raw, err := os.ReadFile(templatePath("store"))
	if err != nil {
		f.t.Fatal(err)
	}
	form := url.Values{
		"StackName": {name}, "TemplateBody": {string(raw)}, "Capabilities.member.1": {"CAPABILITY_NAMED_IAM"},
		"Parameters.member.1.ParameterKey": {"Prefix"}, "Parameters.member.1.ParameterValue": {mine},
	}
	if owner != "" {
		form.Set("Tags.member.1.Key", tag)
		form.Set("Tags.member.1.Value", owner)
	}
	f.make(form)
}
