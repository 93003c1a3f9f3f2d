//go:build race

package e2e

// raceFlag builds the commands the way the tests were built.
var raceFlag = []string{"-race"}
