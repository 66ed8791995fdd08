package wire

import "github.com/go-json-experiment/json"

// AppendTransfer appends the body that asks for another leader, any where to is
// "".
func AppendTransfer(dst []byte, to string) []byte {
	dst = append(dst, '{')
	if to != "" {
		dst = append(dst, `"to":`...)
		dst = appendString(dst, to)
	}
	return append(dst, '}')
}

// Transfer reads the body that asks for another leader: strictly, as events are
// read. The empty string stands for any leader.
func (d *Decoder) Transfer(text []byte) (to string, err error) {
	s := &d.scan
	err = d.read(text, func() error {
		if s.peek() != '{' {
			d.fault("", "must be a JSON object")
			return s.skip()
		}
		return s.members(func(name []byte) (err error) {
			switch {
			case string(name) != "to":
				d.fault(clip(name), "is no field of this request")
				return s.skip()
			case s.peek() != '"':
				d.fault("to", "must be a string")
				return s.skip()
			}
			if to, err = s.string(); err == nil && to == "" {
				d.fault("to", "must not be empty")
			}
			return err
		})
	})
	return to, err
}

// AppendLeader appends the answer that names the new leader.
func AppendLeader(dst []byte, leader string) []byte {
	dst = append(dst, `{"leader":`...)
	dst = appendString(dst, leader)
	return append(dst, '}')
}

// DecodeLeader reads what AppendLeader wrote.
func DecodeLeader(text []byte) (string, error) {
	var doc struct {
		Leader string `json:"leader"`
	}
	err := json.Unmarshal(text, &doc)
	return doc.Leader, err
}
