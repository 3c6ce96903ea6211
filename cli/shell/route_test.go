package shell_test

import (
	"net"
	"strings"
	"testing"

	"github.com/stile-dev/stile/cli/shell"
	"github.com/stile-dev/stile/pkg/fault"
)

// noTunnel is what a proxy says that doesn't hold the node's tunnel.
func noTunnel() error {
	return fault.New(fault.NoTunnel, "no tunnel for node node-1 at this proxy: it is offline, or there is no such node", "see with stile ls")
}

// beside is another proxy of p's cluster.
func beside(t *testing.T, p *place) *place {
	other := newPlace(t)
	other.cluster, other.edge, other.host = p.cluster, p.edge, p.host
	return other
}

// nobody is an address where nothing listens.
func nobody(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// warned gathers the warnings of a configuration.
func warned(c *shell.Config) *[]string {
	var list []string
	c.Warn = func(s string) { list = append(list, s) }
	return &list
}

func TestTheNextProxyIsTriedWhenOneIsDownOrHoldsNoTunnel(t *testing.T) {
	p := newPlace(t)
	empty := beside(t, p)
	empty.refuse = noTunnel()
	down := nobody(t)
	if _, err := dial(t, p.config(down, empty.listen(t), p.listen(t))); err != nil {
		t.Errorf("the third proxy works, and yet: %v", err)
	}
	if _, err := dial(t, p.config(empty.listen(t), down)); !fault.Is(err, fault.NoTunnel) || !strings.HasPrefix(fault.From(err).Message, "no tunnel") {
		t.Errorf("got %v", err)
	}
	if _, err := dial(t, p.config()); !fault.Is(err, fault.Unreachable) || !strings.Contains(fault.From(err).Hint, "stile login") {
		t.Errorf("without proxies: got %v", err)
	}
}

func TestAnImpostorAmongTheProxiesDoesNotKeepFromTheOthers(t *testing.T) {
	p, impostor := newPlace(t), newPlace(t)
	evil := impostor.listen(t)
	c := p.config(evil, p.listen(t))
	warnings := warned(&c)
	if _, err := dial(t, c); err != nil {
		t.Fatalf("the second proxy works, and yet: %v", err)
	}
	if len(*warnings) != 1 || !strings.Contains((*warnings)[0], evil) {
		t.Errorf("got warnings %q", *warnings)
	}
	if impostor.served.Load() != 0 {
		t.Error("the impostor was told what is wanted")
	}
}

func TestOfAllFailuresTheMostTellingIsTheError(t *testing.T) {
	p, impostor, wrong := newPlace(t), newPlace(t), newPlace(t)
	wrong.cluster, wrong.edge = p.cluster, p.edge // the cluster's proxy, and another cluster's node behind it
	empty := beside(t, p)
	empty.refuse = noTunnel()
	denied := beside(t, p)
	denied.refuse = fault.New(fault.Denied, "your roles do not reach it", "ask")
	down, evil, none, other, no := nobody(t), impostor.listen(t), empty.listen(t), wrong.listen(t), denied.listen(t)
	for name, test := range map[string]struct {
		proxies  []string
		message  string
		warnings int
	}{
		"an impostor tells more than silence":            {[]string{evil, down}, "could not prove that it belongs to the cluster", 0},
		"a proxy tells more than an impostor":            {[]string{none, evil, down}, "no tunnel for node", 1},
		"a false node tells more than none":              {[]string{other, none}, "node node-1 could not prove its name", 0},
		"a refusal is final":                             {[]string{evil, no, other}, "your roles do not reach it", 1},
		"two impostors are one error and one warning":    {[]string{evil, evil}, "could not prove that it belongs to the cluster", 1},
		"silence is told when there is nothing else":     {[]string{down, down}, "does not answer", 0},
		"a false node does not keep from the next proxy": {[]string{other, p.listen(t)}, "", 1},
	} {
		t.Run(name, func(t *testing.T) {
			c := p.config(test.proxies...)
			warnings := warned(&c)
			_, err := dial(t, c)
			if (err == nil) != (test.message == "") || err != nil && !strings.Contains(fault.From(err).Message, test.message) {
				t.Errorf("got %v, want %q", err, test.message)
			}
			if len(*warnings) != test.warnings {
				t.Errorf("got warnings %q, want %d", *warnings, test.warnings)
			}
		})
	}
}

func TestAnAddressIsDialledAgainWhenABalancerChoseAProxyWithoutTheTunnel(t *testing.T) {
	p := newPlace(t)
	p.refuse, p.refuses = noTunnel(), 3
	if _, err := dial(t, p.config(p.listen(t))); err != nil {
		t.Errorf("the fourth proxy behind the address holds the tunnel, and yet: %v", err)
	}
	if n := p.served.Load(); n != 4 {
		t.Errorf("it was asked %d times", n)
	}
}

func TestARefusedLoginIsOneErrorAndOneHint(t *testing.T) {
	const (
		said = "stile: error: the certificate is not for \"nobody\""
		hint = "stile: hint: use one of: root\r\n"
	)
	for name, c := range map[string]struct{ banner, message, hint, decision string }{
		"an error and a hint":          {said + "\r\n" + hint, `node node-1: the certificate is not for "nobody"`, "use one of: root", ""},
		"a decision":                   {said + " (dec_01abc)\r\n" + hint, `node node-1: the certificate is not for "nobody"`, "use one of: root", "dec_01abc"},
		"lines without carriage":       {said + "\n" + hint, `node node-1: the certificate is not for "nobody"`, "use one of: root", ""},
		"twice the same":               {said + "\r\n" + hint + said + "\r\n" + hint, `node node-1: the certificate is not for "nobody"`, "use one of: root", ""},
		"other words before the error": {"Welcome\r\n" + said + "\r\n", `node node-1: the certificate is not for "nobody"`, "", ""},
		"other words alone":            {"Go away.\r\nNow.\r\n", "node node-1: login ubuntu was refused; Go away.; Now.", "", ""},
		"nothing":                      {"", "node node-1: login ubuntu was refused", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			p.banner = c.banner
			config := p.config(p.listen(t))
			config.Login = "ubuntu"
			_, err := dial(t, config)
			f := fault.From(err)
			if c.hint == "" {
				c.hint = "run stile ls to see the logins that you may use there; log in again if your roles changed"
			}
			if f.Code != fault.Denied || f.Message != c.message || f.Hint != c.hint || f.DecisionID != c.decision {
				t.Errorf("got %v %q, hint %q, decision %q", f.Code, f.Message, f.Hint, f.DecisionID)
			}
		})
	}
}

func TestSec_S52_ABannerIsMadeSafeForTheTerminal(t *testing.T) {
	p := newPlace(t)
	p.banner = "Welcome\x1b]52;c;AA==\x07\r\nto node-1\r\n"
	c := p.config(p.listen(t))
	var shown strings.Builder
	c.Banner = &shown
	if _, err := dial(t, c); err != nil {
		t.Fatal(err)
	}
	if want := "Welcome\\x1b]52;c;AA==\\a\nto node-1\n"; shown.String() != want {
		t.Errorf("got %q, want %q", shown.String(), want)
	}
}

func TestAForeignCertificateIsNamedInEnglish(t *testing.T) {
	p := newPlace(t)
	_, p.edge = p.cluster.Agent(nil, "node-1")
	_, err := dial(t, p.config(p.listen(t)))
	if m := fault.From(err).Message; !strings.Contains(m, "which is not a proxy") {
		t.Errorf("got %q", m)
	}
}
