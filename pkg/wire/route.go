package wire

// Who may call an operation.
const (
	CallerAnonymous = "anonymous" // anyone; the evidence in the body is what counts
	CallerUser      = "user"      // a signed call by a person's certificate
	CallerAdmin     = "admin"     // the same, and the use case asks the policy for a rule
	CallerHost      = "host"      // a signed call by an agent's or a proxy's certificate
)

// Route is one operation of the API.
type Route struct {
	Operation string   // operationId
	Method    string   // GET, POST, …
	Pattern   string   // path without stage; a segment in braces is a parameter: /v1/admin/resources/{kind}
	Function  string   // the function that serves it
	Caller    string   // CallerAnonymous, CallerUser, CallerAdmin or CallerHost
	Query     []string // names of the query parameters that it takes
}
