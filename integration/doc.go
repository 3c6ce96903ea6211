// Package integration tests the whole system as people meet it: one that `localstack up` started from the
// committed templates and the built programs, driven by the programs themselves and by other people's tools.
//
// It holds tests alone and knows the inside of nothing that runs; where a test attacks, it uses the product's
// own packages to be one bit away from what is right. Its entry point is TestMain, which starts the system.
package integration
