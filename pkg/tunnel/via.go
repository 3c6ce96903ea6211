package tunnel

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/stile-dev/stile/pkg/vouch"
)

// SendVoucher begins a connection that leads to the API with what the proxy says of the caller; "" is nothing.
func SendVoucher(w io.Writer, voucher string) error {
	if len(voucher) > vouch.MaxSize {
		return fmt.Errorf("a voucher of %d bytes", len(voucher))
	}
	_, err := w.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(voucher))), voucher...))
	return err
}

func readVoucher(r io.Reader) (string, error) {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return "", err
	}
	n := binary.BigEndian.Uint16(size[:])
	if n > vouch.MaxSize {
		return "", fmt.Errorf("a voucher of %d bytes", n)
	}
	b := make([]byte, n)
	_, err := io.ReadFull(r, b)
	return string(b), err
}
