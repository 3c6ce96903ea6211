package link_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"encoding/json"
	"testing"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/frame"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/tunnel"
	"github.com/stile-dev/stile/pkg/tunnel/tunneltest"
)

// say sends one batch and reads the acknowledgement.
func say(s tunnel.Stream, m *frame.Events) error {
	if err := frame.Write(s, m); err != nil {
		return err
	}
	return frame.Read(s, new(frame.EventsHeld))
}

func signature(t *testing.T, c tunneltest.Credential, agent string, body []byte) []byte {
	t.Helper()
	b, err := audit.Sign(rand.Reader, c.TLS.PrivateKey.(crypto.Signer), agent, body)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What an agent signed reaches the ledger as it came, with what proves it; what its key didn't sign, or is not its to
// say, does not.
func TestSec_S63_WhatAnAgentSignsIsPassedOnAsItCame(t *testing.T) {
	p := newProxy(t)
	host, credential := p.cluster.Agent(nil, "web-1")
	_, other := p.cluster.Agent(nil, "web-2")
	a, err := p.dial(host, credential)
	if err != nil {
		t.Fatal(err)
	}
	s, err := a.open(t, names.StreamEvents)
	if err != nil {
		t.Fatal(err)
	}
	own := func(change func(*audit.Event)) []byte {
		e := event(audit.SessionStart, "node", "web-1")
		e.Source, e.Cluster, e.Scope = "agent/"+host.ID, host.Cluster, host.Scope
		change(&e)
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	good := append(own(func(*audit.Event) {}), ' ') // a blank that nobody else would write
	foreign := own(func(*audit.Event) {})
	m := &frame.Events{Batch: 1, Events: [][]byte{good, foreign}, Signatures: [][]byte{
		signature(t, credential, host.ID, good), signature(t, other, host.ID, foreign),
	}}
	for _, change := range []func(*audit.Event){
		func(e *audit.Event) { e.Source = "agent/agt_other" }, func(e *audit.Event) { e.Cluster = "other" },
		func(e *audit.Event) { e.Scope = "/other" }, func(e *audit.Event) { e.Target = "web-2" },
	} {
		b := own(change)
		m.Events, m.Signatures = append(m.Events, b), append(m.Signatures, signature(t, credential, host.ID, b))
	}
	if err := say(s, m); err != nil {
		t.Fatal(err)
	}
	if len(p.last.Events) != 1 || !bytes.Equal(p.last.Events[0].Body, good) || !bytes.Equal(p.last.Events[0].Signature, m.Signatures[0]) ||
		!bytes.Equal(p.last.Certificate, credential.TLS.Certificate[0]) {
		t.Errorf("delivered: %+v", p.last)
	}
	if err := say(s, &frame.Events{Batch: 2, Events: [][]byte{good, foreign}, Signatures: m.Signatures[:1]}); err == nil {
		t.Error("fewer signatures than events are acknowledged")
	}
}
