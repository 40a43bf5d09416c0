# What Redmine's REST API cannot create: the API itself, keys, and custom fields.
Setting.rest_api_enabled = '1'

admin = User.find_by_login('admin')
admin.update!(must_change_passwd: false)
Token.where(user: admin, action: 'api').delete_all
Token.insert!({ user_id: admin.id, action: 'api', value: 'a' * 40, created_on: Time.now, updated_on: Time.now })

# Somebody who may see and comment, and no more.
reporter = User.new(firstname: 'Rita', lastname: 'Reporter', mail: 'rita@example.test')
reporter.login = 'rita'
reporter.password = reporter.password_confirmation = 'reporter-password'
reporter.save!
Token.insert!({ user_id: reporter.id, action: 'api', value: 'b' * 40, created_on: Time.now, updated_on: Time.now })

%w[Review\ version Evidence\ bundle].each do |name|
  VersionCustomField.create!(name: name, field_format: 'string', is_filter: true)
end
['Release id', 'Review decision', 'Evidence link'].each do |name|
  IssueCustomField.create!(name: name, field_format: 'string', is_for_all: true, is_filter: true, searchable: true, trackers: Tracker.all)
end
