package loadgen

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"math/bits"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/oncelog/oncelog"
)

// Workload says which events are published. Two workloads that differ in Seed,
// Topics, PayloadBytes or Start share no event.
type Workload struct {
	// Events is how many events are published, repeats included. 0 means no
	// end, for a run that a duration bounds.
	Events int64
	// Duplicates is the share of events that repeat an earlier one: 0 or more,
	// less than 1.
	Duplicates float64
	// Topics are the topics that events are spread over, at random and evenly.
	Topics []string
	// PayloadBytes is the exact size of each payload, 96 or more.
	PayloadBytes int
	// Seed decides everything that is left to chance.
	Seed uint64
	// Start is the timestamp of the first event; each next one is a
	// millisecond later.
	Start time.Time
}

const (
	minPayloadBytes = 96
	// endless stands for an unbounded number of events. A float64 holds it.
	endless = int64(1) << 52
)

// errWorkload marks a workload or a configuration that cannot be run.
var errWorkload = errors.New("loadgen: cannot run")

// DefaultWorkload is 20,000 events, three in ten of them repeats.
func DefaultWorkload() Workload {
	return Workload{
		Events:       20_000,
		Duplicates:   0.3,
		Topics:       []string{"login", "order", "payment", "sensor"},
		PayloadBytes: 300,
		Seed:         1,
		Start:        time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC),
	}
}

func (w Workload) validate() error {
	switch {
	case w.Events < 0 || w.Events > endless:
		return fmt.Errorf("%w: %d events", errWorkload, w.Events)
	case !(w.Duplicates >= 0 && w.Duplicates < 1):
		return fmt.Errorf("%w: a share of duplicates of %v; it is 0 or more and less than 1", errWorkload, w.Duplicates)
	case len(w.Topics) == 0:
		return fmt.Errorf("%w: no topics", errWorkload)
	case w.PayloadBytes < minPayloadBytes || w.PayloadBytes > oncelog.MaxPayloadBytes:
		return fmt.Errorf("%w: payloads of %d bytes; %d to %d are possible",
			errWorkload, w.PayloadBytes, minPayloadBytes, oncelog.MaxPayloadBytes)
	}
	for _, topic := range w.Topics {
		sample := newCatalogue(w).event(0)
		sample.Topic = topic
		if err := sample.Validate(); err != nil {
			return fmt.Errorf("%w: topic %q: %w", errWorkload, topic, err)
		}
	}
	return nil
}

// Repeats is how many of the events repeat an earlier one.
func (w Workload) Repeats() int64 {
	n := w.Events
	if n == 0 {
		n = endless
	}
	return min(int64(math.Round(float64(n)*w.Duplicates)), max(n-1, 0))
}

// Unique is how many different events there are.
func (w Workload) Unique() int64 { return w.Events - w.Repeats() }

// sequence hands out the indexes of the events to send: 0, 1, 2 and so on for
// new ones, with repeats of earlier ones scattered between.
type sequence struct {
	// mu guards all below.
	mu  sync.Mutex
	rng *rand.Rand
	// left counts the events still to hand out, repeats those of them that
	// repeat. Invariant: repeats < left until the first event is handed out.
	left    int64
	repeats int64
	// fresh is the next new index.
	fresh int64
}

func newSequence(w Workload) *sequence {
	left := w.Events
	if left == 0 {
		left = endless
	}
	return &sequence{rng: rand.New(rand.NewPCG(w.Seed, 0)), left: left, repeats: w.Repeats()}
}

// next appends up to n indexes to dst; none when all are handed out.
func (s *sequence) next(dst []int64, n int) []int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ; n > 0 && s.left > 0; n-- {
		dst = append(dst, s.one())
	}
	return dst
}

// one draws the next index by selection sampling, which meets the number of
// repeats exactly (Knuth, TAOCP vol. 2, algorithm 3.4.2 S).
func (s *sequence) one() int64 {
	repeat := s.fresh > 0 && s.rng.Int64N(s.left) < s.repeats
	s.left--
	if !repeat {
		s.fresh++
		return s.fresh - 1
	}
	s.repeats--
	return s.earlier()
}

// earlier picks an index already handed out: half of the time a recent one, as
// when a publisher retries, else any, as when an old source is read again.
func (s *sequence) earlier() int64 {
	const recent = 1000
	if span := min(s.fresh, recent); s.rng.Uint64()&1 == 0 {
		return s.fresh - 1 - s.rng.Int64N(span)
	}
	return s.rng.Int64N(s.fresh)
}

// catalogue makes events of their indexes, and finds the index of an event id.
type catalogue struct {
	w Workload
	// prefix begins every event id of the workload, and of no other.
	prefix string
}

// indexDigits is the length of the index, in hexadecimal, at the end of an id.
const indexDigits = 12

func newCatalogue(w Workload) *catalogue {
	h := fnv.New64a()
	h.Write(binary.BigEndian.AppendUint64(nil, w.Seed))
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(w.PayloadBytes)))
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(w.Start.UnixNano())))
	h.Write([]byte(strings.Join(w.Topics, "\x00")))
	tag := h.Sum64()
	// A version 8 UUID (RFC 9562), whose bits are free to choose.
	prefix := fmt.Sprintf("%08x-%04x-8%03x-8%03x-", tag>>32, tag>>16&0xffff, tag>>4&0xfff, tag&0xf)
	return &catalogue{w: w, prefix: prefix}
}

// events makes the events of some indexes. Their payloads share their memory.
func (c *catalogue) events(indexes []int64) []oncelog.Event {
	events := make([]oncelog.Event, len(indexes))
	memory := make([]byte, 0, len(indexes)*c.w.PayloadBytes)
	for i, index := range indexes {
		events[i], memory = c.appendEvent(memory, index)
	}
	return events
}

// event makes the event of an index.
func (c *catalogue) event(index int64) oncelog.Event {
	e, _ := c.appendEvent(make([]byte, 0, c.w.PayloadBytes), index)
	return e
}

// appendEvent makes the event of an index, with its payload behind what is in
// memory already.
func (c *catalogue) appendEvent(memory []byte, index int64) (oncelog.Event, []byte) {
	chance := rand.NewPCG(c.w.Seed, uint64(index)+1)
	start := len(memory)
	e := oncelog.Event{
		Topic:     c.w.Topics[below(chance, len(c.w.Topics))],
		EventID:   c.eventID(index),
		Timestamp: c.w.Start.Add(time.Duration(index) * time.Millisecond),
		Source:    sources[below(chance, len(sources))],
	}
	memory = c.appendPayload(memory, index, chance)
	e.Payload = memory[start:len(memory):len(memory)]
	return e, memory
}

// below draws a number of 0 or more and less than n.
func below(chance *rand.PCG, n int) int {
	high, _ := bits.Mul64(chance.Uint64(), uint64(n))
	return int(high)
}

// appendPayload appends a compact JSON object of the workload's exact size.
func (c *catalogue) appendPayload(b []byte, index int64, chance *rand.PCG) []byte {
	end := len(b) + c.w.PayloadBytes - len(`"}`)
	b = append(b, `{"n":`...)
	b = strconv.AppendInt(b, index, 10)
	b = append(b, `,"user":"u`...)
	b = strconv.AppendInt(b, int64(below(chance, 10_000)), 10)
	b = append(b, `","value":`...)
	b = strconv.AppendInt(b, int64(below(chance, 1000)), 10)
	b = append(b, '.', '0'+byte(below(chance, 10)), '0'+byte(below(chance, 10)))
	b = append(b, `,"note":"`...)
	b = appendWords(b, end, chance)
	return append(b, `"}`...)
}

// appendWords appends words up to an end, where the last one may be cut short. A
// draw makes a dozen of them.
func appendWords(b []byte, end int, chance *rand.PCG) []byte {
	const wordBits = 5
	var drawn uint64
	for left := 0; len(b) < end; left-- {
		if left == 0 {
			drawn, left = chance.Uint64(), 64/wordBits
		}
		word := words[drawn%(1<<wordBits)]
		drawn >>= wordBits
		b = append(b, word[:min(len(word), end-len(b))]...)
	}
	return b
}

// sources are who the events are from.
var sources = [...]string{"load-0", "load-1", "load-2", "load-3", "load-4", "load-5", "load-6", "load-7"}

// words fill a payload, so that it compresses about as text does.
var words = [1 << 5]string{
	"accepted ", "account ", "after ", "amount ", "before ", "button ", "cart ", "checkout ",
	"client ", "confirmed ", "customer ", "delivery ", "device ", "discount ", "email ", "gateway ",
	"invoice ", "item ", "limit ", "order ", "page ", "pending ", "price ", "queue ", "region ",
	"retry ", "session ", "signal ", "stock ", "token ", "update ", "voltage ",
}

// eventID is the id of the event of an index.
func (c *catalogue) eventID(index int64) string {
	var digits [indexDigits]byte
	for i := range digits {
		digits[i] = "0123456789abcdef"[index>>(4*(indexDigits-1-i))&0xf]
	}
	return c.prefix + string(digits[:])
}

// index is the index of an event id, or false if the id is not the workload's.
func (c *catalogue) index(eventID string) (int64, bool) {
	digits, ok := strings.CutPrefix(eventID, c.prefix)
	if !ok || len(digits) != indexDigits {
		return 0, false
	}
	index, err := strconv.ParseInt(digits, 16, 64)
	if err != nil || c.eventID(index) != eventID {
		return 0, false
	}
	return index, true
}
