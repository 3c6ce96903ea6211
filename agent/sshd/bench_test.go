package sshd_test

import "testing"

// BenchmarkSession runs one command on an open connection.
func BenchmarkSession(b *testing.B) {
	c := newBench(b).login()
	for b.Loop() {
		s, err := c.NewSession()
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Run("true"); err != nil {
			b.Fatal(err)
		}
		_ = s.Close()
	}
}

// BenchmarkConnect connects and authenticates, and leaves.
func BenchmarkConnect(b *testing.B) {
	x := newBench(b)
	key := signer(b, x.user())
	for b.Loop() {
		c, err := dial(x, key)
		if err != nil {
			b.Fatal(err)
		}
		_ = c.Close()
	}
}
