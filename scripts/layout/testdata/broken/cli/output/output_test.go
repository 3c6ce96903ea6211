package output

import (
	"testing"
	"time"
)

func TestNothing(t *testing.T) {
	time.Sleep(time.Second)
	t.Skip("later")
}
