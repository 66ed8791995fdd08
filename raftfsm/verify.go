package raftfsm

import (
	"crypto/sha256"
	"errors"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"github.com/oncelog/oncelog/raftfsm/store"
)

// Verified is what Verify found in a store that is sound.
type Verified struct {
	store.State
	Digest Digest
	// Cluster is uuid.Nil where no leader has opened the log yet.
	Cluster uuid.UUID
	// Members is how many nodes the Raft configuration has.
	Members int
}

// Verify proves the store in dir, which nobody has open: see store.Verify, and
// the state machine's own state besides.
func Verify(dir string, o store.Options) (Verified, error) {
	var encoded []byte
	m, err := decodeMachine(nil)
	if err != nil {
		return Verified{}, err
	}
	state, err := store.Verify(dir, o, func(name string, value []byte) (err error) {
		switch name {
		case metaMachine:
			encoded = append([]byte(nil), value...)
			var decoded *machine
			if decoded, err = decodeMachine(value); err == nil {
				decoded.configuration, m = m.configuration, decoded
			}
		case metaConfiguration:
			m.configuration = append(configurationEntry(nil), value...)
		default:
			err = errors.New("an entry of no known name")
		}
		if err != nil {
			return corrupt(name, err)
		}
		return nil
	})
	if err != nil {
		return Verified{}, err
	}
	if encoded == nil {
		encoded = m.encode()
	}
	return Verified{
		State:   state,
		Digest:  digestOf(state, encoded),
		Cluster: m.cluster,
		Members: len(m.configuration.decode().Servers),
	}, nil
}

// digestOf is the digest of the whole state.
func digestOf(s store.State, machine []byte) Digest {
	h := sha256.New()
	h.Write(s.Digest[:])
	h.Write(machine)
	return Digest(h.Sum(nil))
}

// VerifyEntry checks a log entry as the state machine will when it applies it.
func VerifyEntry(log *raft.Log) error {
	if log.Type != raft.LogCommand {
		return nil
	}
	_, err := Decode(log.Data)
	return err
}
