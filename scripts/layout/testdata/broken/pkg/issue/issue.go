// Package issue knows AWS.
package issue

import _ "github.com/aws/aws-sdk-go-v2/service/kms"
