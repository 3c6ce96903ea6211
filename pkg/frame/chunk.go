package frame

import "fmt"

// MaxBatch is how many bytes the chunks of one batch may add up to.
const MaxBatch = 16 << 20

// chunkSize leaves room in a frame for the other fields.
const chunkSize = 60 << 10

// Cut divides data into chunks of a batch that fit frames; empty data makes one empty chunk.
func Cut(batch uint64, data []byte) []*Chunk {
	var out []*Chunk
	for index := uint32(0); ; index++ {
		n := min(len(data), chunkSize)
		out = append(out, &Chunk{Batch: batch, Index: index, Data: data[:n], Last: n == len(data)})
		if data = data[n:]; len(data) == 0 {
			return out
		}
	}
}

// Assembler puts the chunks of a batch together again, one batch at a time. Its zero value is ready; it is not for
// concurrent use.
type Assembler struct {
	batch uint64
	next  uint32
	data  []byte
}

// Add takes the next chunk. done is true with the last one, and data is then the whole batch, which the
// caller owns. A chunk out of turn, and a batch larger than MaxBatch, are ErrMalformed and ErrTooLarge; the
// half that was gathered is dropped.
func (a *Assembler) Add(c *Chunk) (data []byte, done bool, err error) {
	if c.GetIndex() == 0 {
		*a = Assembler{batch: c.GetBatch()}
	}
	if c.GetBatch() != a.batch || c.GetIndex() != a.next {
		*a = Assembler{}
		return nil, false, fmt.Errorf("%w: chunk %d of batch %d out of turn", ErrMalformed, c.GetIndex(), c.GetBatch())
	}
	if len(a.data)+len(c.GetData()) > MaxBatch {
		*a = Assembler{}
		return nil, false, ErrTooLarge
	}
	a.next++
	a.data = append(a.data, c.GetData()...)
	if !c.GetLast() {
		return nil, false, nil
	}
	data = a.data
	*a = Assembler{}
	return data, true, nil
}
