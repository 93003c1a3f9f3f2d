package session

import (
	"slices"
	"testing"

	"rtls/internal/mimetree"
)

// RFC 2231 sections 3, 4.1 and 6.
func TestJoined(t *testing.T) {
	for _, test := range []struct{ params, want []mimetree.Param }{
		{nil, nil},
		{[]mimetree.Param{{Name: "name", Value: "a"}, {Name: "x", Value: "b"}}, []mimetree.Param{{Name: "name", Value: "a"}, {Name: "x", Value: "b"}}},
		{
			[]mimetree.Param{{Name: "access-type", Value: "URL"}, {Name: "URL*0", Value: "ftp://"}, {Name: "url*1", Value: "cs.utk.edu/pub"}},
			[]mimetree.Param{{Name: "access-type", Value: "URL"}, {Name: "URL", Value: "ftp://cs.utk.edu/pub"}},
		},
		{
			[]mimetree.Param{{Name: "title*1*", Value: "%2A%2A%2Afun%2A%2A%2A%20"}, {Name: "title*2", Value: "isn't it 100%!"}, {Name: "title*0*", Value: "us-ascii'en'This%20is%20even%20more%20"}},
			[]mimetree.Param{{Name: "title*", Value: "us-ascii'en'This%20is%20even%20more%20%2A%2A%2Afun%2A%2A%2A%20isn't it 100%25!"}},
		},
		{
			[]mimetree.Param{{Name: "t*0", Value: "a"}, {Name: "t*2", Value: "c"}, {Name: "t*0", Value: "b"}},
			[]mimetree.Param{{Name: "t", Value: "a"}},
		},
		{
			[]mimetree.Param{{Name: "t*0", Value: "a"}, {Name: "t*1*", Value: "%20"}},
			[]mimetree.Param{{Name: "t*", Value: "''a%20"}},
		},
		{
			[]mimetree.Param{{Name: "t*1", Value: "a"}, {Name: "u*00", Value: "b"}, {Name: "u*", Value: "c"}, {Name: "*0", Value: "d"}},
			[]mimetree.Param{{Name: "t*1", Value: "a"}, {Name: "u*00", Value: "b"}, {Name: "u*", Value: "c"}, {Name: "*0", Value: "d"}},
		},
	} {
		if got := joined(test.params); !slices.Equal(got, test.want) {
			t.Errorf("%q: %q, want %q", test.params, got, test.want)
		}
	}
}
