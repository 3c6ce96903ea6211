package link

// Book is what an agent remembers of the addresses that proxies told.
type Book struct{ addresses }

// Learn is learn.
func (b *Book) Learn(addr string) bool { return b.learn(addr) }

// Pick is pick.
func (b *Book) Pick(own ...string) (string, bool) { return b.pick(own) }

// Answered is answered.
func (b *Book) Answered(addr string, reached bool) { b.answered(addr, reached) }
