package raftfsm

// Join makes one publish command of several, with their batches in order. Each
// must have been decoded without an error. The leader has yet to stamp it.
func Join(commands ...[]byte) []byte {
	size := commandHeader
	for _, c := range commands {
		size += len(c) - commandHeader
	}
	joined := append(make([]byte, 0, size), commands[0]...)
	for _, c := range commands[1:] {
		joined = append(joined, c[commandHeader:]...)
	}
	return joined
}
