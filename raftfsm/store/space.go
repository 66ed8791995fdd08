package store

// Free returns how many bytes the disk under the store has left for this process.
func (s *Store) Free() (uint64, error) {
	usage, err := s.fs.GetDiskUsage(s.dir)
	return usage.AvailBytes, err
}
