package httpapi

import (
	"fmt"
	"sync/atomic"

	"github.com/oncelog/oncelog"
)

// budget is a number of bytes that all requests share.
type budget struct{ free atomic.Int64 }

func newBudget(n int64) *budget {
	b := new(budget)
	b.free.Store(n)
	return b
}

// claim is what one request has taken of a budget. It is used by one goroutine.
type claim struct {
	budget *budget
	taken  int64
}

// freeBytes is what each request may have without a claim, so that an ordinary
// one touches no shared counter and a full budget does not stop it.
const freeBytes = 16 << 10

// raise makes the claim cover n bytes in all. Where the budget has no room it
// changes nothing and answers [oncelog.ErrQueueFull].
func (c *claim) raise(n int) error {
	more := int64(n) - freeBytes - c.taken
	if more <= 0 {
		return nil
	}
	if c.budget.free.Add(-more) < 0 {
		c.budget.free.Add(more)
		return fmt.Errorf("the requests in memory take all the room there is: %w", oncelog.ErrQueueFull)
	}
	c.taken += more
	return nil
}

// lower makes the claim cover n bytes and no more.
func (c *claim) lower(n int) {
	if less := c.taken - max(int64(n)-freeBytes, 0); less > 0 {
		c.budget.free.Add(less)
		c.taken -= less
	}
}

// release gives everything back.
func (c *claim) release() {
	if c.taken > 0 {
		c.budget.free.Add(c.taken)
		c.taken = 0
	}
}
