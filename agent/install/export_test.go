package install

// Await is for tests.
var Await = await
