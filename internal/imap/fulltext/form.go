package fulltext

import (
	"hash/fnv"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"unicode"
)

// textForm is to be raised with every change of what search.Texts makes of a message.
// TestForm notices most of them.
const textForm = 3

// form is a number for how texts are read. What was read in another form says nothing
// about what a search finds today, so segments of another form are not used. Of
// others' code it has the versions: Go's tables of letters, and decoders of charsets.
var form = sync.OnceValue(func() uint64 {
	h := fnv.New64a()
	add := func(s string) { h.Write([]byte(s + "\n")) } // never fails
	add(strconv.Itoa(textForm))
	add(unicode.Version)
	add(runtime.Version())
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == "golang.org/x/text" || m.Path == "github.com/emersion/go-message" {
				if m.Replace != nil {
					m = m.Replace
				}
				add(m.Path + " " + m.Version + " " + m.Sum)
			}
		}
	}
	return h.Sum64()
})
