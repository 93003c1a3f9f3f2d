// Package fulltext spares SEARCH the look into files that cannot have the text: an
// index of which three octets occur in which messages of an account.
//
// The index never gives an answer of its own. It names messages that a text is sure
// not to be in, and the search looks into all others. A text is in a message only if
// each three octets of it are, in the form in which the search compares them: both
// have them from search.Texts, in lower case, so there is no second opinion about
// charsets or letters. A text of less than three octets is looked for in all files.
//
// # What is known of what
//
// A message is known by its identity, which copies share (EMAILID), and by size and
// time of its file, see store.FileState. So copying and moving make no work, and an entry
// is true for ever: a file that another program has altered is in another state, and
// is looked into. Entries nobody asks for any more are dropped when they are most.
//
// # Files
//
// The index is the directory ACCOUNT/.rtls/text. In it are segments, whose names are
// numbers, and "lock", which who writes holds. A segment is written under another
// name, renamed when it is whole, and never changed; several are merged into one, and
// removed after it is there. Nothing says which segments belong together: each speaks
// for its messages, and those of one that is missing or damaged are looked into. So
// all of it can be cut off, damaged or removed at any time.
//
//	blocks, each:
//	    entries, each: term, less the one before it; length of the list * 2 + form; list
//	    CRC-32C of the segment's number, the block's place and all that
//	footer:
//	    number of messages, each: identity, wire size, size, time, 1 if it is opaque
//	    number of blocks, each: first term, place, length
//	trailer: "rtlstext", version, segment's number, footer's place, form, CRC-32C of footer and trailer
//
// A term is three octets, with the place of the text in front: in the header, or
// elsewhere. A list has the numbers of messages in the segment, ascending, each less
// the one before it (form 0), or is a bit for each message (form 1). An opaque message
// has texts that are too large to be kept: any text can be in it.
// The form is of the program that has read the texts, see form.go.
// Numbers in footer and trailer have a fixed length, little endian; others are varints.
package fulltext
