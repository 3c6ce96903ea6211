package conformance_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// clean deletes all that a run made, the stacks first: with them goes the role of the tests. After a run that was
// killed it looks for keys that tests had made too. The error names what stays, and how to be rid of it.
func (r *remote) clean(ctx context.Context, killed bool) error {
	fmt.Printf("Deleting everything with prefix %s\n", r.prefix)
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	ours, err := r.stacks(ctx)
	faults := []error{err}
	slices.SortStableFunc(ours, func(a, b types.Stack) int { return r.rank(*a.StackName) - r.rank(*b.StackName) })
	for _, s := range ours {
		if err := r.dropStack(ctx, s); err != nil {
			faults = append(faults, fmt.Errorf("stack %[1]s stays: %[2]w; type: aws cloudformation delete-stack --region %[3]s --stack-name %[1]s",
				*s.StackName, err, r.config.Region))
		}
	}
	faults = append(faults, r.dropTables(ctx))
	if killed {
		faults = append(faults, r.dropKeys(ctx))
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("%w\nand then: %s", err, r.command())
	}
	fmt.Println("Nothing stays but KMS keys, which AWS deletes after seven days and charges nothing for")
	return nil
}

// rank puts the stacks that others need last.
func (r *remote) rank(name string) int {
	return slices.Index([]string{r.prefix + "-world", r.prefix + "-store"}, name)
}

// dropStack settles what still runs, empties the stack's buckets and deletes it.
func (r *remote) dropStack(ctx context.Context, s types.Stack) error {
	if _, err := r.settle(ctx, *s.StackId); err != nil {
		return err
	}
	out, err := r.cf.DescribeStackResources(ctx, &cloudformation.DescribeStackResourcesInput{StackName: s.StackId})
	if err != nil {
		return err
	}
	for _, one := range out.StackResources {
		stands := aws.ToString(one.PhysicalResourceId) != "" && one.ResourceStatus != types.ResourceStatusDeleteComplete
		if *one.ResourceType == "AWS::S3::Bucket" && stands {
			if err := r.emptyBucket(ctx, *one.PhysicalResourceId); err != nil {
				return err
			}
		}
	}
	if _, err := r.cf.DeleteStack(ctx, &cloudformation.DeleteStackInput{StackName: s.StackId}); err != nil {
		return err
	}
	gone, err := r.settle(ctx, *s.StackId)
	if err == nil && gone.StackStatus != types.StackStatusDeleteComplete {
		err = fmt.Errorf("%s: %w", gone.StackStatus, r.reasons(ctx, *s.StackId))
	}
	return err
}

// emptyBucket deletes every version of every object.
func (r *remote) emptyBucket(ctx context.Context, bucket string) error {
	client := r.s3()
	pages := s3.NewListObjectVersionsPaginator(client, &s3.ListObjectVersionsInput{Bucket: &bucket})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("emptying bucket %s: %w", bucket, err)
		}
		var all []s3types.ObjectIdentifier
		for _, v := range page.Versions {
			all = append(all, s3types.ObjectIdentifier{Key: v.Key, VersionId: v.VersionId})
		}
		for _, m := range page.DeleteMarkers {
			all = append(all, s3types.ObjectIdentifier{Key: m.Key, VersionId: m.VersionId})
		}
		if len(all) == 0 {
			continue
		}
		out, err := client.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: &bucket, Delete: &s3types.Delete{Objects: all, Quiet: aws.Bool(true)}})
		if err == nil && len(out.Errors) > 0 {
			err = fmt.Errorf("%s: %s", aws.ToString(out.Errors[0].Key), aws.ToString(out.Errors[0].Message))
		}
		if err != nil {
			return fmt.Errorf("emptying bucket %s: %w", bucket, err)
		}
	}
	return nil
}

// dropTables deletes the tables that tests made and could not delete. The stacks' own go with their stacks.
func (r *remote) dropTables(ctx context.Context) error {
	client := dynamodb.NewFromConfig(r.config)
	pages := dynamodb.NewListTablesPaginator(client, &dynamodb.ListTablesInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("listing tables: %w", err)
		}
		for _, name := range page.TableNames {
			if !strings.HasPrefix(name, r.prefix+"-test-") {
				continue
			}
			if _, err := client.DeleteTable(ctx, &dynamodb.DeleteTableInput{TableName: &name}); err != nil && !isCode(err, "ResourceNotFoundException") {
				return fmt.Errorf("table %s stays: %w", name, err)
			}
		}
	}
	return nil
}

// dropKeys deletes the aliases and schedules the deletion of the keys that tests made.
func (r *remote) dropKeys(ctx context.Context) error {
	client := kms.NewFromConfig(r.config)
	aliases := kms.NewListAliasesPaginator(client, &kms.ListAliasesInput{})
	for aliases.HasMorePages() {
		page, err := aliases.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("listing aliases: %w", err)
		}
		for _, a := range page.Aliases {
			if strings.HasPrefix(*a.AliasName, "alias/"+r.prefix+"-") {
				if _, err := client.DeleteAlias(ctx, &kms.DeleteAliasInput{AliasName: a.AliasName}); err != nil {
					return fmt.Errorf("alias %s stays: %w", *a.AliasName, err)
				}
			}
		}
	}
	keys := kms.NewListKeysPaginator(client, &kms.ListKeysInput{})
	for keys.HasMorePages() {
		page, err := keys.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("listing keys: %w", err)
		}
		for _, k := range page.Keys {
			if err := r.dropKey(ctx, client, k.KeyId); err != nil {
				return err
			}
		}
	}
	return nil
}

// dropKey schedules a key's deletion if the key has the run's tag. A key whose tags may not be read is not ours.
func (r *remote) dropKey(ctx context.Context, client *kms.Client, id *string) error {
	tags, err := client.ListResourceTags(ctx, &kms.ListResourceTagsInput{KeyId: id})
	if isCode(err, "AccessDeniedException") {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the tags of key %s: %w", *id, err)
	}
	for _, t := range tags.Tags {
		if *t.TagKey != tag || *t.TagValue != r.prefix {
			continue
		}
		_, err := client.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: id, PendingWindowInDays: aws.Int32(7)})
		if err != nil && !isCode(err, "KMSInvalidStateException") { // it is scheduled already
			return fmt.Errorf("key %s stays: %w", *id, err)
		}
	}
	return nil
}
