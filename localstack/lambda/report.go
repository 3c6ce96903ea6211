package lambda

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// reportFailures is the only type of answer that a mapping may ask a function for.
const reportFailures = "ReportBatchItemFailures"

// judge reads which records of a batch a function reports as failed, as "Configuring partial batch response with DynamoDB
// and Lambda" in the developer guide has it: the one with the lowest sequence number is tried again with all that follow.
// An answer without failures is a success of all, and one that can't be understood, or names a record that isn't in the
// batch, a failure of all.
func judge(payload []byte, batch []Record) verdict {
	failures, err := reported(payload)
	if err != nil {
		return verdict{why: fmt.Sprintf("the function's report %.200q: %v", payload, err)}
	}
	at := make(map[string]int, len(batch))
	for i, r := range batch {
		at[r.Sequence] = i
	}
	rest := len(batch)
	for _, id := range failures {
		i, ok := at[id]
		if !ok {
			return verdict{why: fmt.Sprintf("the function reported %.200q, which is not the sequence number of a record in the batch", id)}
		}
		rest = min(rest, i)
	}
	if rest == len(batch) {
		return verdict{rest: rest}
	}
	return verdict{rest: rest, report: true, why: "the function reported the record " + batch[rest].Sequence}
}

// reported returns what an answer names as failed, an empty identifier too. Names are told apart by case.
func reported(payload []byte) ([]string, error) {
	if text := bytes.TrimSpace(payload); len(text) == 0 || string(text) == "null" || string(text) == `""` {
		return nil, nil
	}
	var answer map[string]json.RawMessage
	if err := json.Unmarshal(payload, &answer); err != nil {
		return nil, fmt.Errorf("it is no JSON object: %w", err)
	}
	list, ok := answer["batchItemFailures"]
	if !ok && len(answer) > 0 {
		return nil, errors.New("it has no batchItemFailures")
	}
	if !ok {
		return nil, nil
	}
	var items []map[string]json.RawMessage
	if err := json.Unmarshal(list, &items); err != nil {
		return nil, fmt.Errorf("batchItemFailures is no list of objects: %w", err)
	}
	failures := make([]string, len(items))
	for i, item := range items {
		var id *string
		if err := json.Unmarshal(item["itemIdentifier"], &id); err != nil || id == nil || *id == "" {
			return nil, fmt.Errorf("entry %d has no itemIdentifier that is a text", i)
		}
		failures[i] = *id
	}
	return failures, nil
}
