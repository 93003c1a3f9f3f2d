//go:build cgo && !osusergo

package auth

// allSources says that os/user asks the C library, which asks all sources.
const allSources = true
