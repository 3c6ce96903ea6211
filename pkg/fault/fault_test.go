package fault_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stile-dev/stile/pkg/fault"
)

func TestEveryCodeHasItsStatusesOutside(t *testing.T) {
	for code, want := range map[fault.Code]struct {
		http int
		grpc uint32
		exit int
	}{
		fault.Internal: {500, 13, 1}, fault.BadInput: {400, 3, 2}, fault.Unauthenticated: {401, 16, 3}, fault.Expired: {401, 16, 3}, fault.Denied: {403, 7, 4},
		fault.NotFound: {404, 5, 5}, fault.Unreachable: {502, 14, 6}, fault.NoTunnel: {502, 14, 6}, fault.Conflict: {409, 10, 7}, fault.Quarantined: {409, 9, 7},
		fault.TooLarge: {413, 11, 2}, fault.RateLimited: {429, 8, 6}, fault.Unavailable: {503, 14, 6},
	} {
		if code.HTTP() != want.http || code.GRPC() != want.grpc || code.Exit() != want.exit || code.Title() == "" || !code.Known() {
			t.Errorf("%s is %d, %d, %d, %q", code, code.HTTP(), code.GRPC(), code.Exit(), code.Title())
		}
	}
	if other := fault.Code("teapot"); other.Known() || other.HTTP() != 500 || other.Exit() != 1 {
		t.Errorf("a code that is none is %d, %d", other.HTTP(), other.Exit())
	}
}

func TestAProxyWithoutATunnelIsNotAnUnreachableOne(t *testing.T) {
	f := fault.New(fault.NoTunnel, "no tunnel to node web-1 here", "try another proxy")
	if fault.Is(f, fault.Unreachable) || !fault.Is(fmt.Errorf("asking: %w", f), fault.NoTunnel) {
		t.Errorf("%v", f)
	}
}

func TestAnErrorWithoutAFaultIsInternalAndNotShown(t *testing.T) {
	secret := errors.New("the table is called x")
	f := fault.From(secret)
	if f.Code != fault.Internal || f.Message == secret.Error() || f.Hint == "" || !errors.Is(f, secret) {
		t.Errorf("%+v", f)
	}
	if fault.From(nil) != nil {
		t.Error("nothing is a fault")
	}
}
