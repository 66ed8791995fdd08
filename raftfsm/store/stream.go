package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/oncelog/oncelog"
)

// A stream carries the files of one database, in the order of their names:
//
//	 0  8    "oncelog\x01", the last byte being the version
//	 8  u32  number of files
//	12  u64  length of what follows the header
//	20  u32  CRC32C of the 20 bytes before
//
// then for each file
//
//	0     u8   name length n
//	1     n    name: letters, digits, dots, hyphens, underscores; no dot first
//	1+n   u64  size s
//	9+n   s    content
//	9+n+s u32  CRC32C of all of the entry before
//
// and nothing after the last one.
const (
	streamMagic  = "oncelog\x01"
	streamHeader = 24
	streamFiles  = 1 << 20
)

// streamedFile is a file as it goes into a stream.
type streamedFile struct {
	name string
	size int64
}

// entryLen is the length of the file's entry.
func (f streamedFile) entryLen() int64 { return int64(1+len(f.name)+8+4) + f.size }

func (f streamedFile) head() []byte {
	b := append([]byte{byte(len(f.name))}, f.name...)
	return binary.BigEndian.AppendUint64(b, uint64(f.size))
}

// encodeHeader returns a stream's header and the length of the whole stream.
func encodeHeader(files []streamedFile) (header []byte, size int64) {
	var entries int64
	for _, f := range files {
		entries += f.entryLen()
	}
	b := append(make([]byte, 0, streamHeader), streamMagic...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(files)))
	b = binary.BigEndian.AppendUint64(b, uint64(entries))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	return b, streamHeader + entries
}

// fileReader reads one file's entry of a stream. The file is open from the first
// byte to the last.
type fileReader struct {
	fs   vfs.FS
	path string
	streamedFile

	crc     hash.Hash32
	file    vfs.File
	body    io.Reader
	read    int64
	trailer *bytes.Reader
}

func (r *fileReader) Read(p []byte) (int, error) {
	if r.trailer != nil {
		return r.trailer.Read(p)
	}
	if r.file == nil {
		f, err := r.fs.Open(r.path)
		if err != nil {
			return 0, err
		}
		r.file, r.crc = f, crc32.New(castagnoli)
		r.body = io.MultiReader(bytes.NewReader(r.head()), f)
	}
	n, err := r.body.Read(p)
	r.crc.Write(p[:n])
	r.read += int64(n)
	if !errors.Is(err, io.EOF) {
		return n, err
	}
	if want := r.entryLen() - 4; r.read != want {
		return n, fmt.Errorf("%s: %w: %d bytes longer or shorter than it was", r.path, oncelog.ErrCorrupt, r.read-want)
	}
	r.trailer = bytes.NewReader(binary.BigEndian.AppendUint32(nil, r.crc.Sum32()))
	return n, r.Close()
}

// Close closes the file if it is open.
func (r *fileReader) Close() error {
	if r.file == nil {
		return nil
	}
	err := r.file.Close()
	r.file = nil
	return err
}

// receiveFiles writes the files of a stream into dir, which exists, and syncs
// them. What is damaged, cut off or followed by more is an [oncelog.ErrCorrupt]
// that names the file; what was written stays.
func receiveFiles(fs vfs.FS, dir string, r io.Reader) error {
	files, left, err := readHeader(r)
	if err != nil {
		return fmt.Errorf("header of the snapshot: %w", err)
	}
	last := ""
	for i := range files {
		f, err := readHead(r, left, last)
		if err == nil {
			err = receiveFile(fs, fs.PathJoin(dir, f.name), f, r)
		}
		if err != nil {
			return fmt.Errorf("file %d of the snapshot, %q: %w", i+1, f.name, err)
		}
		last = f.name
		left -= f.entryLen()
	}
	if left != 0 {
		return fmt.Errorf("%w: the snapshot is %d bytes longer than its files", oncelog.ErrCorrupt, left)
	}
	if n, err := io.ReadFull(r, make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		return fmt.Errorf("after the snapshot's last file, %q: %w: more bytes than announced (%w)", last, oncelog.ErrCorrupt, err)
	}
	return syncDir(fs, dir)
}

func readHeader(r io.Reader) (files uint32, entries int64, err error) {
	b := make([]byte, streamHeader)
	if err := readFull(r, b); err != nil {
		return 0, 0, err
	}
	if string(b[:len(streamMagic)-1]) != streamMagic[:len(streamMagic)-1] {
		return 0, 0, fmt.Errorf("%w: no snapshot", oncelog.ErrCorrupt)
	}
	if b[len(streamMagic)-1] != streamMagic[len(streamMagic)-1] {
		return 0, 0, fmt.Errorf("%w %d; this program knows %d", ErrFormat, b[len(streamMagic)-1], streamMagic[len(streamMagic)-1])
	}
	if crc32.Checksum(b[:20], castagnoli) != binary.BigEndian.Uint32(b[20:]) {
		return 0, 0, fmt.Errorf("%w: checksum", oncelog.ErrCorrupt)
	}
	files, length := binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint64(b[12:])
	if files == 0 || files > streamFiles || length > 1<<62 {
		return 0, 0, fmt.Errorf("%w: %d files of %d bytes", oncelog.ErrCorrupt, files, length)
	}
	return files, int64(length), nil
}

// readHead reads the head of an entry that has at most left bytes and a name
// after last.
func readHead(r io.Reader, left int64, last string) (streamedFile, error) {
	var n [1]byte
	if err := readFull(r, n[:]); err != nil {
		return streamedFile{}, err
	}
	b := make([]byte, int(n[0])+8)
	if err := readFull(r, b); err != nil {
		return streamedFile{}, err
	}
	size := binary.BigEndian.Uint64(b[n[0]:])
	f := streamedFile{name: string(b[:n[0]])}
	if !plainName(f.name) || f.name <= last {
		return f, fmt.Errorf("%w: not a name that may come after %q", oncelog.ErrCorrupt, last)
	}
	if size > uint64(left) {
		return f, fmt.Errorf("%w: %d bytes where %d are left", oncelog.ErrCorrupt, size, left)
	}
	f.size = int64(size)
	return f, nil
}

// plainName reports whether a name can only be that of a file in its directory.
func plainName(name string) bool {
	if name == "" || name[0] == '.' {
		return false
	}
	for _, c := range []byte(name) {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && c != '.' && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// receiveFile writes one file and compares it with its checksum.
func receiveFile(fs vfs.FS, path string, f streamedFile, r io.Reader) error {
	crc := crc32.New(castagnoli)
	crc.Write(f.head())
	body := &io.LimitedReader{R: r, N: f.size}
	if err := writeFile(fs, path, io.TeeReader(body, crc)); err != nil {
		return err
	}
	if body.N > 0 {
		return fmt.Errorf("%w: cut off %d bytes before its end", oncelog.ErrCorrupt, body.N)
	}
	var sum [4]byte
	if err := readFull(r, sum[:]); err != nil {
		return err
	}
	if crc.Sum32() != binary.BigEndian.Uint32(sum[:]) {
		return fmt.Errorf("%w: checksum", oncelog.ErrCorrupt)
	}
	return nil
}

// readFull fills b. A stream that ends before is damaged.
func readFull(r io.Reader, b []byte) error {
	_, err := io.ReadFull(r, b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: %w", oncelog.ErrCorrupt, io.ErrUnexpectedEOF)
	}
	return err
}
