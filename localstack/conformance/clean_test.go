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
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// clean deletes all that a run made, the stacks first: with them goes the role of the tests. The error names what
// stays, and how to be rid of it.
func (r *remote) clean(ctx context.Context) error {
	fmt.Printf("Deleting everything with prefix %s\n", r.prefix)
	ours, err := r.stacks(ctx)
	faults := []error{err}
	slices.SortStableFunc(ours, func(a, b types.Stack) int { return r.rank(*a.StackName) - r.rank(*b.StackName) })
	for _, s := range ours {
		if err := r.dropStack(ctx, s); err != nil {
			faults = append(faults, fmt.Errorf("stack %[1]s stays: %[2]w; type: aws cloudformation delete-stack --region %[3]s --stack-name %[1]s",
				*s.StackName, err, r.config.Region))
		}
	}
	faults = append(faults, r.dropTables(ctx), r.dropAliases(ctx))
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
			locks := *s.StackName == r.prefix+"-"+lockStack
			if err := r.emptyBucket(ctx, *one.PhysicalResourceId, locks); err != nil {
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

// emptyBucket deletes every version of every object. In a bucket with Object Lock it takes legal holds off first, and
// bypasses governance, which S3 refuses to be asked for elsewhere.
func (r *remote) emptyBucket(ctx context.Context, bucket string, locks bool) error {
	client := r.s3()
	pages := s3.NewListObjectVersionsPaginator(client, &s3.ListObjectVersionsInput{Bucket: &bucket})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("emptying bucket %s: %w", bucket, err)
		}
		var all []s3types.ObjectIdentifier
		for _, v := range page.Versions {
			if err := r.release(ctx, client, bucket, v, locks); err != nil {
				return fmt.Errorf("emptying bucket %s: %w", bucket, err)
			}
			all = append(all, s3types.ObjectIdentifier{Key: v.Key, VersionId: v.VersionId})
		}
		for _, m := range page.DeleteMarkers {
			all = append(all, s3types.ObjectIdentifier{Key: m.Key, VersionId: m.VersionId})
		}
		if len(all) == 0 {
			continue
		}
		in := &s3.DeleteObjectsInput{Bucket: &bucket, Delete: &s3types.Delete{Objects: all, Quiet: aws.Bool(true)}}
		if locks {
			in.BypassGovernanceRetention = aws.Bool(true)
		}
		out, err := client.DeleteObjects(ctx, in)
		if err == nil && len(out.Errors) > 0 {
			err = fmt.Errorf("%s: %s", aws.ToString(out.Errors[0].Key), aws.ToString(out.Errors[0].Message))
		}
		if err != nil {
			return fmt.Errorf("emptying bucket %s: %w", bucket, err)
		}
	}
	return nil
}

// release takes the legal hold off a version in a bucket with Object Lock.
func (r *remote) release(ctx context.Context, client *s3.Client, bucket string, v s3types.ObjectVersion, locks bool) error {
	if !locks {
		return nil
	}
	_, err := client.PutObjectLegalHold(ctx, &s3.PutObjectLegalHoldInput{
		Bucket: &bucket, Key: v.Key, VersionId: v.VersionId,
		LegalHold: &s3types.ObjectLockLegalHold{Status: s3types.ObjectLockLegalHoldStatusOff},
	})
	return err
}

// dropTables deletes the tables that tests made and could not delete. The stacks' own go with their stacks.
func (r *remote) dropTables(ctx context.Context) error {
	client := dynamodb.NewFromConfig(r.config)
	pages := dynamodb.NewListTablesPaginator(client, &dynamodb.ListTablesInput{})
	var faults []error
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return errors.Join(append(faults, fmt.Errorf("listing tables: %w", err))...)
		}
		for _, name := range page.TableNames {
			if !strings.HasPrefix(name, r.prefix+"-test-") {
				continue
			}
			if err := r.dropTable(ctx, client, name); err != nil && !isCode(err, "ResourceNotFoundException") {
				faults = append(faults, fmt.Errorf("table %s stays: %w", name, err))
			}
		}
	}
	return errors.Join(faults...)
}

// dropTable deletes a table if it has the run's tag.
func (r *remote) dropTable(ctx context.Context, client *dynamodb.Client, name string) error {
	told, err := client.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &name})
	if err != nil {
		return err
	}
	in := &dynamodb.ListTagsOfResourceInput{ResourceArn: told.Table.TableArn}
	for {
		page, err := client.ListTagsOfResource(ctx, in)
		if err != nil {
			return err
		}
		for _, t := range page.Tags {
			if *t.Key == tag && *t.Value == r.prefix {
				_, err := client.DeleteTable(ctx, &dynamodb.DeleteTableInput{TableName: &name})
				return err
			}
		}
		if in.NextToken = page.NextToken; in.NextToken == nil {
			return nil
		}
	}
}

// dropAliases deletes the aliases that tests gave to keys of the stacks. The keys go with their stacks.
func (r *remote) dropAliases(ctx context.Context) error {
	client := kms.NewFromConfig(r.config)
	pages := kms.NewListAliasesPaginator(client, &kms.ListAliasesInput{})
	var faults []error
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return errors.Join(append(faults, fmt.Errorf("listing aliases: %w", err))...)
		}
		for _, a := range page.Aliases {
			if a.TargetKeyId == nil || !strings.HasPrefix(*a.AliasName, "alias/"+r.prefix+"-") {
				continue
			}
			if err := r.dropAlias(ctx, client, a); err != nil && !isCode(err, "NotFoundException") {
				faults = append(faults, fmt.Errorf("alias %s stays: %w", *a.AliasName, err))
			}
		}
	}
	return errors.Join(faults...)
}

// dropAlias deletes an alias if its key has the run's tag. A key whose tags may not be read is not ours.
func (r *remote) dropAlias(ctx context.Context, client *kms.Client, a kmstypes.AliasListEntry) error {
	pages := kms.NewListResourceTagsPaginator(client, &kms.ListResourceTagsInput{KeyId: a.TargetKeyId})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if isCode(err, "AccessDeniedException") {
			return nil
		}
		if err != nil {
			return err
		}
		for _, t := range page.Tags {
			if *t.TagKey == tag && *t.TagValue == r.prefix {
				_, err := client.DeleteAlias(ctx, &kms.DeleteAliasInput{AliasName: a.AliasName})
				return err
			}
		}
	}
	return nil
}
