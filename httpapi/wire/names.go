package wire

import "bytes"

// nameSet is the names of one open object. They lie on the scanner's stack of
// names while they are few, and in a map once looking through them all would
// cost more.
type nameSet struct {
	base  int
	index map[string]struct{}
}

const fewNames = 16

// isNew adds name to the set, unless it is there.
func (s *scanner) isNew(set *nameSet, name []byte) bool {
	if set.index == nil {
		mine := s.names[set.base:]
		for _, other := range mine {
			if bytes.Equal(other, name) {
				return false
			}
		}
		if len(mine) < fewNames {
			s.names = append(s.names, name)
			return true
		}
		set.index = make(map[string]struct{}, 2*fewNames)
		for _, other := range mine {
			set.index[string(other)] = struct{}{}
		}
	}
	if _, known := set.index[string(name)]; known {
		return false
	}
	set.index[string(name)] = struct{}{}
	return true
}
