package template

import "slices"

// Status is where a stack is in its life, in CloudFormation's words
// (https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html).
type Status string

// The statuses of a stack. One that was deleted has none.
const (
	CreateInProgress         Status = "CREATE_IN_PROGRESS"
	CreateComplete           Status = "CREATE_COMPLETE"
	RollbackInProgress       Status = "ROLLBACK_IN_PROGRESS"
	RollbackComplete         Status = "ROLLBACK_COMPLETE"
	RollbackFailed           Status = "ROLLBACK_FAILED"
	UpdateInProgress         Status = "UPDATE_IN_PROGRESS"
	UpdateComplete           Status = "UPDATE_COMPLETE"
	UpdateRollbackInProgress Status = "UPDATE_ROLLBACK_IN_PROGRESS"
	UpdateRollbackComplete   Status = "UPDATE_ROLLBACK_COMPLETE"
	UpdateRollbackFailed     Status = "UPDATE_ROLLBACK_FAILED"
	DeleteInProgress         Status = "DELETE_IN_PROGRESS"
	DeleteFailed             Status = "DELETE_FAILED"
)

// creating reports whether the stack has not been created yet.
func (s Status) creating() bool { return s == "" || s == CreateInProgress }

// creationFailed reports whether the stack can only be deleted: its creation failed, or its deletion did.
func (s Status) creationFailed() bool {
	return slices.Contains([]Status{RollbackInProgress, RollbackComplete, RollbackFailed, DeleteInProgress, DeleteFailed}, s)
}

// rollingBack reports whether an update has to be rolled back before the next.
func (s Status) rollingBack() bool { return s == UpdateRollbackInProgress || s == UpdateRollbackFailed }
