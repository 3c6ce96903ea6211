// Package mac makes codes.
package mac
