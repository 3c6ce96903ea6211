package install

// For tests.
var (
	Await   = await
	Guarded = guarded
	Others  = others
	Put     = put
)
