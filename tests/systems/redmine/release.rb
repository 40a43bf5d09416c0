# A team's release paperwork in Redmine, as docs/adapters/redmine.md describes it: what the REST API cannot create.
# Nobody reads its mail, and to write it takes as long as all else that a change does.
Setting.notified_events = []

new = IssueStatus.find_by_name('New')
accepted = IssueStatus.create!(name: 'Accepted')
approved = IssueStatus.create!(name: 'Approved')
closed = IssueStatus.find_by_name('Closed')
cleared = IssueStatus.create!(name: 'Cleared', is_closed: true)

review, checklist, release, queue = ['Release review', 'Readiness checklist', 'Release', 'Review queue'].map do |name|
  Tracker.create!(name: name, default_status: new)
end

# The operator's role: it sees and edits issues, and each tracker's workflow lets it make one transition.
closer = Role.create!(name: 'Release closer', permissions: %i[view_issues edit_issues])
[[checklist, closed], [release, approved], [queue, cleared]].each do |tracker, target|
  [new, IssueStatus.find_by_name('In Progress')].each do |from|
    WorkflowTransition.create!(role: closer, tracker: tracker, old_status: from, new_status: target)
  end
end
reader = Role.create!(name: 'Release reader', permissions: %i[view_issues])
manager = Role.find_by_name('Manager')
[review, checklist, release, queue].each do |tracker|
  IssueStatus.all.to_a.permutation(2) do |from, to|
    WorkflowTransition.create!(role: manager, tracker: tracker, old_status: from, new_status: to)
  end
end

def somebody(login, key)
  user = User.new(firstname: login.capitalize, lastname: 'Somebody', mail: "#{login}@example.test")
  user.login = login
  user.password = user.password_confirmation = "#{login}-password"
  user.save!
  Token.insert!({ user_id: user.id, action: 'api', value: key, created_on: Time.now, updated_on: Time.now })
  user
end
somebody('closer', 'c' * 40)
somebody('locked', 'd' * 40).lock!

def field(name, format, trackers, extra = {})
  IssueCustomField.create!({ name: name, field_format: format, is_for_all: true, is_filter: true, trackers: trackers }.merge(extra))
end
everywhere = [review, checklist, release, queue]
fields = {
  release: field('Release', 'string', everywhere),
  service: field('Service', 'string', [review, release]),
  version: field('Service version', 'string', [review, release]),
  reviewVersion: field('Review', 'string', [review, checklist, queue]),
  bundle: field('Bundle', 'string', [review]),
  digest: field('Digest', 'string', [review]),
  acceptedEvent: field('Accepted event', 'string', [review]),
  evidence: field('Evidence', 'text', [release], is_filter: false),
  marker: field('Closed by', 'string', [checklist, release, queue]),
  # Cannot be searched by.
  unsearchable: field('Unsearchable', 'string', everywhere, is_filter: false),
  # Is not the closer's to see.
  hidden: field('Hidden', 'string', everywhere, visible: false, roles: [manager])
}
File.write('/data/paperwork.json', JSON.generate(
  fields: fields.transform_values(&:id),
  trackers: { review: review.id, checklist: checklist.id, release: release.id, queue: queue.id },
  statuses: IssueStatus.all.to_h { |status| [status.name, status.id] },
  roles: { closer: closer.id, reader: reader.id }
))
