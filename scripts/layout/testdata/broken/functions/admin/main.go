// Command admin hides what it uses.
package main

import . "github.com/aws/aws-sdk-go-v2/service/dynamodb"
