package raftfsm

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"github.com/oncelog/oncelog/raftfsm/store"
)

// ErrForeignLog is a log that was opened by another cluster than the one whose
// state this is.
var ErrForeignLog = errors.New("the log belongs to another cluster")

// The names under which the state machine keeps its own state in the store.
const (
	metaMachine       = "machine"
	metaConfiguration = "configuration"
)

// machine is the replicated state beside the events.
type machine struct {
	// cluster is uuid.Nil until a leader has opened the log.
	cluster uuid.UUID
	// clock is the latest time stamped on an entry, in nanoseconds since 1970, so
	// that processed_at never steps back when a leader's clock is behind.
	clock int64
	sessions
	configuration configurationEntry
	// members are the nodes of the configuration.
	members map[uuid.UUID]bool
	// departed is not kept: a node that starts again knows of none.
	departed departed
}

// configurationEntry is the last configuration entry of the log: its index as
// u64 big endian, then Raft's own encoding. Empty before the first.
type configurationEntry []byte

func (c configurationEntry) decode() (e struct {
	Index uint64
	raft.Configuration
},
) {
	if len(c) > 8 {
		e.Index = binary.BigEndian.Uint64(c)
		e.Configuration = raft.DecodeConfiguration(c[8:])
	}
	return e
}

// loadMachine reads the state back from the store.
func loadMachine(s *store.Store) (*machine, error) {
	data, err := s.Meta(metaMachine)
	if err != nil {
		return nil, err
	}
	m, err := decodeMachine(data)
	if err != nil {
		return nil, corrupt(metaMachine, err)
	}
	if m.configuration, err = s.Meta(metaConfiguration); err != nil {
		return nil, err
	}
	m.members = memberIDs(m.configuration)
	return m, nil
}

// The layout of the machine in the store, big endian: version u8 = 1, cluster
// id 16, clock i64, then the sessions. Absent in an empty store.
const (
	machineVersion = 1
	machineHeader  = 25
)

func decodeMachine(data []byte) (*machine, error) {
	if data == nil {
		data = make([]byte, machineHeader)
		data[0] = machineVersion
	}
	if len(data) < machineHeader {
		return nil, fmt.Errorf("%d bytes are no header", len(data))
	}
	if data[0] != machineVersion {
		return nil, fmt.Errorf("version %d; this program knows version %d", data[0], machineVersion)
	}
	s, err := decodeSessions(data[machineHeader:])
	if err != nil {
		return nil, err
	}
	return &machine{
		cluster:  uuid.UUID(data[1:17]),
		clock:    int64(binary.BigEndian.Uint64(data[17:])),
		sessions: *s,
	}, nil
}

// encode is the reverse of decodeMachine.
func (m *machine) encode() []byte {
	data := append([]byte{machineVersion}, m.cluster[:]...)
	data = binary.BigEndian.AppendUint64(data, uint64(m.clock))
	return m.sessions.appendTo(data)
}

// save puts the state into the batch that is about to be committed.
func (m *machine) save(txn *store.Txn) {
	txn.SetMeta(metaMachine, m.encode())
	txn.SetMeta(metaConfiguration, m.configuration)
}

// open notes whose log this is, or checks it.
func (m *machine) open(cluster uuid.UUID) error {
	if m.cluster == uuid.Nil {
		m.cluster = cluster
	}
	if m.cluster != cluster {
		return fmt.Errorf("%w: %s, not %s", ErrForeignLog, cluster, m.cluster)
	}
	return nil
}

// configure takes over a configuration entry.
func (m *machine) configure(log *raft.Log) {
	before := m.configuration
	m.configuration = append(binary.BigEndian.AppendUint64(nil, log.Index), log.Data...)
	m.members = memberIDs(m.configuration)
	m.departed = m.departed.with(before, m.configuration)
	m.sessions.keep(m.members)
}

// judge decides whether a batch is applied, recalled or refused.
func (m *machine) judge(b *Batch) verdict {
	if !m.members[b.Session.Node] {
		return verdict{refused: ErrNotMember}
	}
	return m.sessions.admit(b)
}

// memberIDs are the servers of a configuration whose id is a node's UUID.
func memberIDs(c configurationEntry) map[uuid.UUID]bool {
	members := make(map[uuid.UUID]bool)
	for _, server := range c.decode().Servers {
		if id, err := uuid.Parse(string(server.ID)); err == nil {
			members[id] = true
		}
	}
	return members
}
