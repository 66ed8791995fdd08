package cluster

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A leader is paused, the others go on, and reads that reached it in
// the meantime are waiting in its sockets when it continues. It still takes itself
// for the leader then, and none of its answers may be from the past.
func TestReadsOfAPausedLeaderAreNotFromThePast(t *testing.T) {
	c := processes(t)
	for round := range 2 {
		old, err := c.Leader(t.Context())
		require.NoError(t, err)
		require.NoError(t, old.Pause())
		next, err := c.Leader(t.Context())
		require.NoError(t, err)
		_, err = next.Client().Publish(t.Context(), anEvent("meanwhile", time.Now().String()))
		require.NoError(t, err)
		// What was acknowledged by now must be in every answer that comes from here.
		want := round + 1

		const readers = 64
		var reading, sent sync.WaitGroup
		answers := make([]int, readers)
		sent.Add(readers)
		for i := range answers {
			reading.Go(func() { answers[i] = uniqueAt(t, old, &sent) })
		}
		sent.Wait()
		require.NoError(t, old.Continue())
		reading.Wait()
		answered := 0
		for _, unique := range answers {
			if unique < 0 {
				continue // an error is no stale answer
			}
			answered++
			require.GreaterOrEqual(t, unique, want, "round %d", round)
		}
		require.Positive(t, answered, "the old leader answers")
		require.NoError(t, c.WaitReady(t.Context()))
	}
}

// uniqueAt asks a node how many events there are, over a connection of its own,
// and marks the moment when the request is on its way. It returns -1 for an error.
func uniqueAt(t *testing.T, n *Node, sent *sync.WaitGroup) int {
	var once sync.Once
	defer once.Do(sent.Done)
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", n.Addresses().HTTP)
	if err != nil {
		return -1
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "GET /stats HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
		return -1
	}
	once.Do(sent.Done)
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return -1
	}
	defer func() { _ = resp.Body.Close() }()
	var stats struct {
		Unique int `json:"unique_processed_db"`
	}
	if resp.StatusCode != http.StatusOK || json.NewDecoder(resp.Body).Decode(&stats) != nil {
		return -1
	}
	return stats.Unique
}
