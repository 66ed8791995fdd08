package oncelog

import "time"

// Stats is the state of the log in numbers, as one node holds it. All of it
// belongs to one moment: the state after the entry AppliedIndex.
type Stats struct {
	// Received counts every event in every batch that was acknowledged:
	// Received = Unique + Duplicates.
	Received   uint64
	Unique     uint64
	Duplicates uint64
	// Conflicts counts the duplicates whose payload was not the stored one.
	Conflicts uint64
	// Topics is sorted by name.
	Topics []TopicStats
	// AppliedIndex is the last Raft log index applied, Term the node's current term.
	AppliedIndex uint64
	Term         uint64
	// Digest is "sha256:" and 64 hexadecimal digits: equal on all nodes at an
	// equal AppliedIndex.
	Digest string
	// Node and Leader are names; Leader is "" where none is known.
	Node   string
	Leader string
	Uptime time.Duration
}

// TopicStats is one topic's share of the log.
type TopicStats struct {
	Topic string
	// Count is the number of stored events, LastID the id of the newest.
	Count  uint64
	LastID uint64
}

// Role is a node's part in the Raft group.
type Role string

// The parts that a node can play.
const (
	Leader   Role = "leader"
	Follower Role = "follower"
	Nonvoter Role = "nonvoter"
)

// Liveness is what gossip says of a node.
type Liveness string

// What gossip can say of a node.
const (
	Alive  Liveness = "alive"
	Failed Liveness = "failed"
	Left   Liveness = "left"
)

// Cluster is the group as one node sees it.
type Cluster struct {
	// ID is the cluster's UUID, "" until the node belongs to one.
	ID string
	// Leader is a node's name, "" where none is known.
	Leader string
	Term   uint64
	// Voters is how many nodes have a vote, FailureTolerance how many more of them
	// may fail while the cluster goes on: 0 where a majority is lost, too.
	Voters           int
	FailureTolerance int
	Nodes            []Member
}

// Member is one node of the cluster.
type Member struct {
	// Name is for people; ID, a UUID, is the identity.
	Name   string
	ID     string
	Role   Role
	Status Liveness
	// HTTPAddr, RaftAddr and GossipAddr are host:port.
	HTTPAddr   string
	RaftAddr   string
	GossipAddr string
	// AppliedIndex is the node's own last applied index as of its last report,
	// Lag how many log entries it is behind the leader's commit index then.
	AppliedIndex uint64
	Lag          uint64
	// Level says that the node answers and is near enough to the leader to vote.
	Level   bool
	Version string
}

// Departure is a node that has left the cluster for good.
type Departure struct {
	Name string
	ID   string
	// Voters and FailureTolerance are those of the cluster that is left.
	Voters           int
	FailureTolerance int
}
