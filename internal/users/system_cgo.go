//go:build cgo && !osusergo

package users

// allSources says that os/user asks the C library, which asks all sources.
const allSources = true
