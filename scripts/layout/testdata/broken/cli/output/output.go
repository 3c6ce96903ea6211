// Package output knows where it runs and that it is tested.
package output

import _ "testing"

const endpoint = "http://127.0.0.1:9010"
