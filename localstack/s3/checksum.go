package s3

import (
	"crypto/md5"  //nolint:gosec // one of S3's checksums
	"crypto/sha1" //nolint:gosec // one of S3's checksums
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"net/http"

	"github.com/johannesboyne/gofakes3"

	"github.com/stile-dev/stile/localstack/gate"
)

// crc64NVME is the reversed polynomial of CRC-64/NVME.
const crc64NVME = 0x9a6c9329ac4bc9b5

var checksums = map[string]func() hash.Hash{
	"Content-Md5":              md5.New,
	"X-Amz-Checksum-Crc32":     func() hash.Hash { return crc32.NewIEEE() },
	"X-Amz-Checksum-Crc32c":    func() hash.Hash { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) },
	"X-Amz-Checksum-Crc64nvme": func() hash.Hash { return crc64.New(crc64.MakeTable(crc64NVME)) },
	"X-Amz-Checksum-Sha1":      sha1.New,
	"X-Amz-Checksum-Sha256":    sha256.New,
}

// verifyChecksums checks the body against Content-MD5 and every x-amz-checksum header (or trailer, which the gate has
// made a header).
func verifyChecksums(h http.Header, body []byte) error {
	for name, make := range checksums {
		given := h.Get(name)
		if given == "" {
			continue
		}
		sum := make()
		sum.Write(body)
		want, err := base64.StdEncoding.DecodeString(given)
		if (err != nil || len(want) != sum.Size()) && name == "Content-Md5" {
			return &gate.Error{Code: "InvalidDigest", Message: "The Content-MD5 you specified was invalid."}
		}
		if err != nil || len(want) != sum.Size() {
			return &gate.Error{Code: "InvalidRequest", Message: "Value for " + name + " header is invalid."}
		}
		if string(want) != string(sum.Sum(nil)) {
			return &gate.Error{Code: "BadDigest", Message: "The " + name + " you specified did not match the calculated checksum."}
		}
	}
	return nil
}

// noSuchBucket translates the store's error.
func noSuchBucket(err error) error {
	if gofakes3.HasErrorCode(err, gofakes3.ErrNoSuchBucket) {
		return &gate.Error{Code: "NoSuchBucket", Status: http.StatusNotFound, Message: "The specified bucket does not exist"}
	}
	return err
}
