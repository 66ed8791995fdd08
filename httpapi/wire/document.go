package wire

import (
	"math"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/oncelog/oncelog"
)

// The documents below are few and small next to events, so they go through
// structs with tags: the struct shows the document.

type statsDocument struct {
	Received     uint64          `json:"total_received_queued"`
	Unique       uint64          `json:"unique_processed_db"`
	Duplicates   uint64          `json:"estimated_duplicate_dropped"`
	Topics       []topicDocument `json:"topics_count"`
	Uptime       float64         `json:"uptime_seconds"`
	Conflicts    uint64          `json:"conflicts"`
	Node         string          `json:"node"`
	Leader       string          `json:"leader"`
	Term         uint64          `json:"term"`
	AppliedIndex uint64          `json:"applied_index"`
	Digest       string          `json:"digest"`
}

type topicDocument struct {
	Topic  string `json:"topic"`
	Count  uint64 `json:"count"`
	LastID uint64 `json:"last_id,omitzero"`
}

type clusterDocument struct {
	ID               string           `json:"cluster_id"`
	Leader           string           `json:"leader"`
	Term             uint64           `json:"term"`
	Voters           int              `json:"voters"`
	FailureTolerance int              `json:"failure_tolerance"`
	Nodes            []memberDocument `json:"nodes"`
}

type departureDocument struct {
	Name             string `json:"name"`
	ID               string `json:"id"`
	Voters           int    `json:"voters"`
	FailureTolerance int    `json:"failure_tolerance"`
}

type memberDocument struct {
	Name         string           `json:"name"`
	ID           string           `json:"id"`
	Role         oncelog.Role     `json:"role"`
	Status       oncelog.Liveness `json:"status"`
	HTTPAddr     string           `json:"http_addr"`
	RaftAddr     string           `json:"raft_addr"`
	GossipAddr   string           `json:"gossip_addr"`
	AppliedIndex uint64           `json:"applied_index"`
	Lag          uint64           `json:"lag"`
	Level        bool             `json:"level"`
	Version      string           `json:"version"`
}

// AppendStats appends the log's statistics. A topic's last id is no part of
// them, and the uptime has two decimals.
func AppendStats(dst []byte, s *oncelog.Stats) ([]byte, error) {
	doc := statsDocument{
		Received: s.Received, Unique: s.Unique, Duplicates: s.Duplicates, Conflicts: s.Conflicts,
		Topics: make([]topicDocument, len(s.Topics)),
		Uptime: math.Round(s.Uptime.Seconds()*100) / 100,
		Node:   s.Node, Leader: s.Leader, Term: s.Term, AppliedIndex: s.AppliedIndex, Digest: s.Digest,
	}
	for i, t := range s.Topics {
		doc.Topics[i] = topicDocument{Topic: t.Topic, Count: t.Count}
	}
	return appendDocument(dst, &doc)
}

// DecodeStats reads what AppendStats wrote.
func DecodeStats(text []byte) (oncelog.Stats, error) {
	var doc statsDocument
	if err := json.Unmarshal(text, &doc); err != nil {
		return oncelog.Stats{}, err
	}
	s := oncelog.Stats{
		Received: doc.Received, Unique: doc.Unique, Duplicates: doc.Duplicates, Conflicts: doc.Conflicts,
		Uptime: time.Duration(math.Round(doc.Uptime*100)) * (time.Second / 100),
		Node:   doc.Node, Leader: doc.Leader, Term: doc.Term, AppliedIndex: doc.AppliedIndex, Digest: doc.Digest,
	}
	for _, t := range doc.Topics {
		s.Topics = append(s.Topics, oncelog.TopicStats(t))
	}
	return s, nil
}

// AppendTopics appends the list of topics.
func AppendTopics(dst []byte, topics []oncelog.TopicStats) []byte {
	dst = append(dst, '[')
	for i, t := range topics {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"topic":`...)
		dst = appendString(dst, t.Topic)
		dst = append(dst, `,"count":`...)
		dst = strconv.AppendUint(dst, t.Count, 10)
		dst = append(dst, `,"last_id":`...)
		dst = strconv.AppendUint(dst, t.LastID, 10)
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

// AppendCluster appends the group as one node sees it.
func AppendCluster(dst []byte, c *oncelog.Cluster) ([]byte, error) {
	doc := clusterDocument{
		ID: c.ID, Leader: c.Leader, Term: c.Term, Voters: c.Voters, FailureTolerance: c.FailureTolerance,
		Nodes: make([]memberDocument, len(c.Nodes)),
	}
	for i, m := range c.Nodes {
		doc.Nodes[i] = memberDocument(m)
	}
	return appendDocument(dst, &doc)
}

// DecodeCluster reads what AppendCluster wrote.
func DecodeCluster(text []byte) (oncelog.Cluster, error) {
	var doc clusterDocument
	if err := json.Unmarshal(text, &doc); err != nil {
		return oncelog.Cluster{}, err
	}
	c := oncelog.Cluster{ID: doc.ID, Leader: doc.Leader, Term: doc.Term, Voters: doc.Voters, FailureTolerance: doc.FailureTolerance}
	for _, m := range doc.Nodes {
		c.Nodes = append(c.Nodes, oncelog.Member(m))
	}
	return c, nil
}

// AppendDeparture appends the answer to a node's leave.
func AppendDeparture(dst []byte, d *oncelog.Departure) ([]byte, error) {
	return appendDocument(dst, departureDocument(*d))
}

// DecodeDeparture reads what AppendDeparture wrote.
func DecodeDeparture(text []byte) (oncelog.Departure, error) {
	var doc departureDocument
	err := json.Unmarshal(text, &doc)
	return oncelog.Departure(doc), err
}

func appendDocument(dst []byte, doc any) ([]byte, error) {
	text, err := json.Marshal(doc)
	if err != nil {
		return dst, err
	}
	return append(dst, text...), nil
}
