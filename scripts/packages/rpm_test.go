package packages_test

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"strings"
	"testing"
)

// Tags of an rpm's header (rpmtag.h).
const (
	tagName, tagVersion, tagArch, tagAfterInstall, tagBeforeRemove = 1000, 1001, 1022, 1024, 1025
	tagModes, tagUsers                                             = 1030, 1039
	tagDirIndexes, tagBaseNames, tagDirNames                       = 1116, 1117, 1118
)

// rpm is what a package says of itself.
type rpm struct{ name, version, arch, after, before string }

// header is one of an rpm's two: a magic number, counts, entries of 16 bytes, and their data.
type header struct {
	entries, data string
}

// parse takes a header from the front, and returns it with its length.
func parse(t *testing.T, b string) (header, int) {
	t.Helper()
	if len(b) < 16 || b[:4] != "\x8e\xad\xe8\x01" {
		t.Fatal("not an rpm's header")
	}
	n, size := number(b[8:]), number(b[12:])
	return header{b[16 : 16+16*n], b[16+16*n : 16+16*n+size]}, 16 + 16*n + size
}

func number(b string) int { return int(binary.BigEndian.Uint32([]byte(b[:4]))) }

// find returns an entry's data from its beginning, and how many values it has.
func (h header) find(tag int) (data string, count int) {
	for e := h.entries; e != ""; e = e[16:] {
		if number(e) == tag {
			return h.data[number(e[8:]):], number(e[12:])
		}
	}
	return "", 0
}

func (h header) texts(tag int) []string {
	data, count := h.find(tag)
	return strings.SplitN(data, "\x00", count+1)[:count]
}

func (h header) text(tag int) string { return strings.Join(h.texts(tag), "") }

// readRPM reads a package's header, which stands behind a lead of 96 bytes and the signatures' header, padded to 8.
func readRPM(t *testing.T, b string) (rpm, []string) {
	t.Helper()
	if b[:4] != "\xed\xab\xee\xdb" {
		t.Fatal("not an rpm")
	}
	_, n := parse(t, b[96:])
	h, _ := parse(t, b[96+(n+7)/8*8:])
	modes, count := h.find(tagModes)
	indexes, _ := h.find(tagDirIndexes)
	dirs, bases, users := h.texts(tagDirNames), h.texts(tagBaseNames), h.texts(tagUsers)
	var files []string
	for i := range count {
		mode := binary.BigEndian.Uint16([]byte(modes[2*i : 2*i+2]))
		m := fs.FileMode(mode & 0o777)
		if mode&0o170000 == 0o040000 {
			m |= fs.ModeDir
		}
		if users[i] != "root" {
			t.Errorf("%s is %s's", bases[i], users[i])
		}
		files = append(files, fmt.Sprintf("%s %s%s", m, dirs[number(indexes[4*i:])], bases[i]))
	}
	return rpm{h.text(tagName), h.text(tagVersion), h.text(tagArch), h.text(tagAfterInstall), h.text(tagBeforeRemove)}, files
}
