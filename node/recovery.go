package node

import (
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"
)

// ErrRecovery is a recovery file that can not be followed. Nothing has changed.
var ErrRecovery = errors.New("the cluster can not be recovered")

const (
	// recoveryFile, in the data directory, is an operator's word that a majority is
	// lost for good, and who the members are from now on.
	recoveryFile = "peers.json"
	// recoveredFile is what it is called once it was followed.
	recoveredFile = "peers.info"
)

// termKey is where Raft keeps its term.
var termKey = []byte("CurrentTerm")

// recoverCluster follows the recovery file, if there is one: it appends the configuration
// in it to the Raft log, where the next leader finds and commits it like any other.
// A crash in between leaves the file, and the next start goes on.
//
// raft.RecoverCluster is not used: it restores a snapshot, which this state machine
// has no copy of but its own store, leaves out the changes of membership in the log,
// without which batches of members are refused, and has each survivor commit what
// is in its own log, so that two of them may differ for good. Here two survivors
// settle that by Raft's own rule for logs that differ.
func (g *group) recoverCluster(dir string, own identityState) error {
	path := filepath.Join(dir, recoveryFile)
	c, err := raft.ReadConfigJSON(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = g.rewriteMembers(c, own)
	}
	if err == nil {
		err = os.Rename(path, filepath.Join(dir, recoveredFile))
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("%w by %s: %w", ErrRecovery, path, err)
	}
	g.logger.Warn("RECOVERED by "+recoveryFile+": this node's log is the truth from now on, whatever other nodes have acknowledged",
		"file", path, "now", recoveredFile, "servers", fmt.Sprintf("%+v", c.Servers))
	return nil
}

// rewriteMembers appends a configuration to the log.
func (g *group) rewriteMembers(c raft.Configuration, own identityState) error {
	last, known, err := g.endOfLog()
	if err != nil {
		return err
	}
	if !own.belongs() || last.Index == 0 {
		return errors.New("this node holds nothing of a cluster yet; remove the file")
	}
	if err := completeMembers(c.Servers, known, own.NodeID); err != nil {
		return err
	}
	entry := &raft.Log{Index: last.Index + 1, Term: recoveryTerm(last.Term, c), Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(c)}
	if last.Type == entry.Type && string(last.Data) == string(entry.Data) {
		return nil // it was appended before a crash
	}
	// The term first: an entry of a later term than Raft's own would be no log.
	if err := g.log.SetUint64(termKey, entry.Term); err != nil {
		return err
	}
	return g.log.StoreLogs([]*raft.Log{entry})
}

// recoveryTerm is a term that no election has reached. What is said of last terms
// stays true behind it: the later one wins, and equal ones, at an equal index, mean
// equal logs. Survivors whose files differ get terms that differ.
func recoveryTerm(last uint64, c raft.Configuration) uint64 {
	return last + 1<<32 + uint64(crc32.Checksum(raft.EncodeConfiguration(c), castagnoli))
}

// endOfLog returns the last entry there is, of which only index and term are known
// where the store has gone past the log, and the servers of all configurations that
// are not yet behind the applied index.
func (g *group) endOfLog() (last raft.Log, known []raft.Server, err error) {
	applied := g.store.Applied()
	last = raft.Log{Index: applied.Index, Term: applied.Term}
	known = g.fsm.Configuration().Servers
	end, err := g.log.LastIndex()
	if err != nil {
		return last, nil, err
	}
	for index := applied.Index; index <= end; index++ {
		var entry raft.Log
		switch err := g.log.GetLog(index, &entry); {
		case errors.Is(err, raft.ErrLogNotFound) && index == applied.Index:
			continue // truncated up to the store's end
		case err != nil:
			return last, nil, err
		}
		last = entry
		if entry.Type == raft.LogConfiguration {
			known = slices.Concat(known, raft.DecodeConfiguration(entry.Data).Servers)
		}
	}
	return last, known, nil
}

// completeMembers checks the servers of a recovery file, and gives their addresses
// the form of a Raft address. Only members can be named: a node with an empty
// directory would vote away what it once acknowledged.
func completeMembers(servers, known []raft.Server, self uuid.UUID) error {
	voter := false
	for i := range servers {
		s := &servers[i]
		at := slices.IndexFunc(known, func(k raft.Server) bool { return k.ID == s.ID })
		if at < 0 {
			return fmt.Errorf("%s is no member that this node knows; name survivors only, new nodes join by themselves", s.ID)
		}
		addr := string(s.Address)
		if strings.Contains(addr, idSeparator) {
			addr = hostPort(s.Address)
		}
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return fmt.Errorf("%s: the address %q: %w", s.ID, s.Address, err)
		}
		s.Address = raftAddress(string(s.ID), addr, nameIn(known[at].Address))
		voter = voter || string(s.ID) == self.String() && s.Suffrage == raft.Voter
	}
	if !voter {
		return fmt.Errorf("it does not name this node, %s, as a voter", self)
	}
	return nil
}
