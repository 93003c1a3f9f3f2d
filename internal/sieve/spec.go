package sieve

import (
	"maps"
	"slices"
)

// extensions are what require can name. What one brings needs nothing else.
var extensions = []string{
	"body",
	"comparator-i;ascii-casemap",
	"comparator-i;ascii-numeric",
	"comparator-i;octet",
	"copy",
	"date",
	"encoded-character",
	"envelope",
	"ereject",
	"fileinto",
	"imap4flags",
	"mailbox",
	"reject",
	"relational",
	"subaddress",
	"vacation",
	"vacation-seconds",
	"variables",
	"vnd.rtls.tag",
}

// Extensions lists what a script can require, in alphabetical order.
func Extensions() []string { return slices.Clone(extensions) }

// spec says what a command or test is written with.
type spec struct {
	needs    string // the extension that brings it
	args     string // positional arguments: s a string, l a list of strings, n a number
	optional bool   // the first of args can be left out
	tags     map[string]tagSpec
	tests    testCount
	block    bool
}

type testCount uint8

const (
	noTest testCount = iota
	oneTest
	manyTests
)

// tagSpec is a tagged argument. Of those in one group a call can have one.
type tagSpec struct {
	takes string // as in spec.args; empty for a tag alone
	needs string
	group string
}

var matchTags = map[string]tagSpec{
	"is":         {group: "match type"},
	"contains":   {group: "match type"},
	"matches":    {group: "match type"},
	"value":      {group: "match type", takes: "s", needs: "relational"},
	"count":      {group: "match type", takes: "s", needs: "relational"},
	"comparator": {takes: "s"},
}

var partTags = map[string]tagSpec{
	"all":       {group: "part of the address"},
	"localpart": {group: "part of the address"},
	"domain":    {group: "part of the address"},
	"user":      {group: "part of the address", needs: "subaddress"},
	"detail":    {group: "part of the address", needs: "subaddress"},
}

var copyTags = map[string]tagSpec{"copy": {needs: "copy"}}

var flagTags = map[string]tagSpec{"flags": {takes: "l", needs: "imap4flags"}}

func tags(sets ...map[string]tagSpec) map[string]tagSpec {
	all := make(map[string]tagSpec)
	for _, set := range sets {
		maps.Copy(all, set)
	}
	return all
}

var commandSpecs = map[string]spec{
	"if":         {tests: oneTest, block: true},
	"elsif":      {tests: oneTest, block: true},
	"else":       {block: true},
	"require":    {args: "l"},
	"stop":       {},
	"keep":       {tags: flagTags},
	"discard":    {},
	"redirect":   {args: "s", tags: copyTags},
	"fileinto":   {needs: "fileinto", args: "s", tags: tags(copyTags, flagTags, map[string]tagSpec{"create": {needs: "mailbox"}})},
	"reject":     {needs: "reject", args: "s"},
	"ereject":    {needs: "ereject", args: "s"},
	"setflag":    {needs: "imap4flags", args: "sl", optional: true},
	"addflag":    {needs: "imap4flags", args: "sl", optional: true},
	"removeflag": {needs: "imap4flags", args: "sl", optional: true},
	"set": {needs: "variables", args: "ss", tags: map[string]tagSpec{
		"lower":         {group: "change of case"},
		"upper":         {group: "change of case"},
		"lowerfirst":    {group: "change of the first letter"},
		"upperfirst":    {group: "change of the first letter"},
		"quotewildcard": {},
		"length":        {},
	}},
	"vacation": {needs: "vacation", args: "s", tags: map[string]tagSpec{
		"days":      {takes: "n", group: "period"},
		"seconds":   {takes: "n", group: "period", needs: "vacation-seconds"},
		"subject":   {takes: "s"},
		"from":      {takes: "s"},
		"addresses": {takes: "l"},
		"mime":      {},
		"handle":    {takes: "s"},
	}},
}

var testSpecs = map[string]spec{
	"true":          {},
	"false":         {},
	"not":           {tests: oneTest},
	"allof":         {tests: manyTests},
	"anyof":         {tests: manyTests},
	"exists":        {args: "l"},
	"size":          {args: "n", tags: map[string]tagSpec{"over": {group: "limit"}, "under": {group: "limit"}}},
	"header":        {args: "ll", tags: matchTags},
	"address":       {args: "ll", tags: tags(matchTags, partTags)},
	"envelope":      {needs: "envelope", args: "ll", tags: tags(matchTags, partTags)},
	"string":        {needs: "variables", args: "ll", tags: matchTags},
	"hasflag":       {needs: "imap4flags", args: "ll", optional: true, tags: matchTags},
	"mailboxexists": {needs: "mailbox", args: "l"},
	"date": {needs: "date", args: "ssl", tags: tags(matchTags, map[string]tagSpec{
		"zone":         {takes: "s", group: "time zone"},
		"originalzone": {group: "time zone"},
	})},
	"currentdate": {needs: "date", args: "sl", tags: tags(matchTags, map[string]tagSpec{"zone": {takes: "s"}})},
	"body": {needs: "body", args: "l", tags: tags(matchTags, map[string]tagSpec{
		"raw":     {group: "form of the body"},
		"content": {takes: "l", group: "form of the body"},
		"text":    {group: "form of the body"},
	})},
	"tlstag":    {needs: "vnd.rtls.tag", args: "l", tags: matchTags},
	"tlsorigin": {needs: "vnd.rtls.tag", args: "l", tags: matchTags},
}
