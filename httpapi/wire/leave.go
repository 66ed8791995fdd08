package wire

import "strconv"

// Leave is the request that a node leaves the cluster for good.
type Leave struct {
	// Node is the node's name or id.
	Node string
	// Force is for a node that is dead.
	Force bool
}

// AppendLeave appends the body of the request.
func AppendLeave(dst []byte, l Leave) []byte {
	dst = append(dst, `{"node":`...)
	dst = appendString(dst, l.Node)
	dst = append(dst, `,"force":`...)
	dst = strconv.AppendBool(dst, l.Force)
	return append(dst, '}')
}

// Leave reads the body of the request: strictly, as events are read.
func (d *Decoder) Leave(text []byte) (l Leave, err error) {
	s := &d.scan
	err = d.read(text, func() error {
		if s.peek() != '{' {
			d.fault("", "must be a JSON object")
			return s.skip()
		}
		if err := s.members(func(name []byte) error { return d.leaveMember(&l, name) }); err != nil {
			return err
		}
		if l.Node == "" {
			d.fault("node", "must be the name or the id of a node")
		}
		return nil
	})
	return l, err
}

func (d *Decoder) leaveMember(l *Leave, name []byte) (err error) {
	s := &d.scan
	switch {
	case string(name) == "node" && s.peek() == '"':
		l.Node, err = s.string()
		return err
	case string(name) == "force" && (s.peek() == 't' || s.peek() == 'f'):
		l.Force = s.peek() == 't'
	case string(name) == "force":
		d.fault("force", "must be true or false")
	case string(name) != "node":
		d.fault(clip(name), "is no field of this request")
	}
	return s.skip()
}
