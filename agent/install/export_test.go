package install

// For tests.
var (
	Await   = await
	Guarded = guarded
	Put     = put
)
