package store

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"rtls/store/internal/index"
)

// metadataFile holds the annotations of a mailbox (RFC 5464), and goes where its
// directory goes; those of the account are in .rtls/metadata. An entry a line, its
// value in base64, sorted by name:
//
//	rtls-metadata 1
//	TXkgb3duIGNvbW1lbnQ= /private/comment
//
// It is always written whole, so each change happens or does not.
const (
	metadataFile        = "rtls-metadata"
	accountMetadataFile = "metadata"
	metadataHeader      = "rtls-metadata 1\n"
)

// Limits of annotations: of one value, and of all of a mailbox or of the account.
const (
	MaxAnnotation  = 64 << 10 // octets
	MaxAnnotations = 100
	maxAnnotated   = 1 << 20 // octets of values
)

// ErrAnnotations says that there is no room for more annotations.
var ErrAnnotations = errors.New("too many annotations")

var errMetadata = errors.New("file of annotations makes no sense")

// Annotation is an entry of a mailbox or of the account. Its name is the same in
// lower and upper case, and has no control characters. A nil Value is none.
type Annotation struct {
	Name  string
	Value []byte
}

// compareAnnotations orders by name.
func compareAnnotations(x, y Annotation) int {
	return strings.Compare(strings.ToLower(x.Name), strings.ToLower(y.Name))
}

// metadataPath is where the annotations of a mailbox are, or, for an empty name, of
// the account. The mailbox has to exist: ErrNoMailbox.
func (a *Account) metadataPath(mailbox string) (string, error) {
	if mailbox == "" {
		return filepath.Join(a.private(), accountMetadataFile), nil
	}
	dir, err := a.existing(mailbox)
	return filepath.Join(dir, metadataFile), err
}

// Metadata returns the annotations of a mailbox, or, for an empty name, of the
// account, sorted by name: ErrNoMailbox.
func (a *Account) Metadata(ctx context.Context, mailbox string) ([]Annotation, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	path, err := a.metadataPath(mailbox)
	if err != nil {
		return nil, err
	}
	return a.readMetadata(path)
}

// SetMetadata changes annotations of a mailbox, or, for an empty name, of the account:
// all or none, durably. Those with a nil Value are removed. seq is the number of the
// change for MetadataChanges. It fails with ErrNoMailbox and ErrAnnotations.
func (a *Account) SetMetadata(ctx context.Context, mailbox string, set []Annotation) (seq uint64, err error) {
	err = a.locked(ctx, func(index.Tx) error {
		path, err := a.metadataPath(mailbox)
		if err != nil {
			return err
		}
		old, err := a.readMetadata(path)
		if err != nil {
			return err
		}
		return a.writeMetadata(path, changedMetadata(old, set))
	})
	if err != nil {
		return 0, err
	}
	return a.annotated.note(mailbox, set), nil
}

// changedMetadata returns all with those of set in place of the ones of their names.
func changedMetadata(all, set []Annotation) []Annotation {
	byName := make(map[string]Annotation, len(all)+len(set))
	for _, e := range slices.Concat(all, set) {
		name := strings.ToLower(e.Name)
		if e.Value == nil {
			delete(byName, name)
			continue
		}
		byName[name] = e
	}
	return slices.SortedFunc(maps.Values(byName), compareAnnotations)
}

func (a *Account) readMetadata(path string) (all []Annotation, err error) {
	raw, err := a.fs.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read annotations: %w", err)
	}
	all, whole := parseMetadata(string(raw))
	if !whole {
		return nil, fmt.Errorf("%w: %s; rtls-imapd store repair mends it", errMetadata, path)
	}
	return all, nil
}

// parseMetadata returns the entries of a file. whole is false if that is not all that is
// in it.
func parseMetadata(raw string) (all []Annotation, whole bool) {
	text, whole := strings.CutPrefix(raw, metadataHeader)
	for line := range strings.Lines(text) {
		line, ended := strings.CutSuffix(line, "\n")
		encoded, name, _ := strings.Cut(line, " ")
		value, err := base64.StdEncoding.DecodeString(encoded)
		if !ended || err != nil || !strings.HasPrefix(name, "/") {
			whole = false
			continue
		}
		all = append(all, Annotation{name, value})
	}
	return all, whole
}

func (a *Account) writeMetadata(path string, all []Annotation) error {
	var b strings.Builder
	b.WriteString(metadataHeader)
	size := 0
	for _, e := range all {
		if strings.ContainsAny(e.Name, "\r\n") || e.Name == "" {
			return fmt.Errorf("annotation cannot have the name %q", e.Name)
		}
		size += len(e.Value)
		if len(e.Value) > MaxAnnotation || len(all) > MaxAnnotations || size > maxAnnotated {
			return fmt.Errorf("%w: at most %d, of %d octets each and %d together", ErrAnnotations, MaxAnnotations, MaxAnnotation, maxAnnotated)
		}
		b.WriteString(base64.StdEncoding.EncodeToString(e.Value) + " " + e.Name + "\n")
	}
	if err := a.fs.WriteFile(path, []byte(b.String())); err != nil {
		return fmt.Errorf("write annotations: %w", err)
	}
	return nil
}
