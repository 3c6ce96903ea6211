// Package fault is there.
package fault
