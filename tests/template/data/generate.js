// Writes handlebars.json beside this file: what Handlebars 4.7 (npm, MIT) makes of each template below.
// Run: npm install --no-save handlebars@4.7 && node tests/template/data/generate.js
const fs = require('fs');
const path = require('path');
const Handlebars = require('handlebars');

const context = {
  name: 'Ann & "Bob" <it\'s `x`=y>', empty: '', zero: 0, minus: -1.5, yes: true, no: false, nothing: null,
  person: {name: 'Dana', 'full name': 'Dana Levi', this: 'own', length: 'own length', 'a]b': 'bracket', '0': 'zeroth'},
  list: ['a', 'b', {name: 'third'}], deep: [[1, null, [true, 'x']], []], numbers: [10, 20], emoji: '👩‍🚀', 'é': 'accent',
  'a-b': 'dash', 'a:b': 'colon', else_x: 'not else', trueish: 'not true', as: 'not as', lines: 'x\ny',
};

const templates = [
  '', 'text', '{{name}}', '{{{name}}}', '{{&name}}', '{{& name }}', '{{ name }}', '{{\nname\n}}', '{{{ name }}}',
  '{{empty}}|{{zero}}|{{minus}}|{{yes}}|{{no}}|{{nothing}}|{{missing}}', '{{{zero}}}|{{{no}}}|{{{nothing}}}|{{{missing}}}',
  '{{person.name}}', '{{person/name}}', '{{person.[full name]}}', '{{person.[name]}}', '{{[person].name}}', '{{person}}',
  '{{this.name}}', '{{./person.name}}', '{{this/person/name}}', '{{person.[this]}}', '{{person.length}}',
  '{{person.[a\\]b]}}', '{{person.[0]}}', '{{list.[0]}}{{list.[1]}}{{list.[9]}}', '{{list.[2].name}}', '{{list.2.name}}',
  '{{list.length}}', '{{name.length}}', '{{emoji.length}}', '{{list}}', '{{{list}}}', '{{deep}}', '{{deep.[0].[2].[1]}}',
  '{{deep.[1].length}}', '{{numbers}}', '{{list.[00]}}', '{{list.[-1]}}', '{{list.name}}', '{{name.first}}', '{{zero.x}}',
  '{{nothing.x.y}}', '{{missing.x.y}}', '{{yes.x}}', '{{@root.person.name}}', '{{@root.list.[2].name}}', '{{é}}', '{{a-b}}',
  '{{a:b}}', '{{else_x}}', '{{trueish}}', '{{as}}', '{{person.as}}', '{{person.true.x}}',
  '\\{{name}}', '\\{{name}} {{zero}}', '\\\\{{zero}}', '\\\\\\{{zero}}', 'a\\b{{zero}}', '\\{{a}}\\{{b}}{{zero}}',
  '\\{{{name}}} x', '{ {{zero}} }', '{{zero}} }}', '} {{zero}} {', '\\\\\\\\{{zero}}', '\\ {{zero}}',
  'a{{! comment }}b', 'a{{!-- }} --}}b', 'a{{!}}b', 'a{{!----}}b', 'a{{!--}}b', '{{! a }}{{! b }}x', 'a {{~! c ~}} b',
  'a\n{{! alone }}\nb', 'a\n  {{! alone }}  \nb', '{{! first }}\na', 'a\n{{! last }}', 'a\n{{!-- one\ntwo --}}\nb',
  'a {{! not alone }}\nb', 'a\r\n{{! alone }}\r\nb', '  {{! only }}  ', '\n\n{{! x }}\n\n', '{{! x }}\n{{! y }}\nz',
  '{{zero}}\n{{! x }}\nz', 'a\n{{! x }} {{zero}}\nb',
  'a {{~zero}} b', 'a {{zero~}} b', 'a {{~zero~}} b', 'a\n\n {{~zero~}} \n\n b', 'a {{~{name}~}} b', 'a {{{~name}}} b',
  'a {{~&zero~}} b', ' {{~zero~}} {{~zero~}} ', 'x {{~! c }} y', 'x {{! c ~}} y', '\u00a0{{~zero~}}\u2003y', '{{lines}}',
  '{{zero}}{{zero}}', '{{zero}} {{minus}}', '{{{name}}}{{name}}', 'é{{zero}}🙂', '{{zero}}\n', '\n{{zero}}\n\n',
];

const cases = templates.map((template) => {
  try {
    return {template, output: Handlebars.compile(template)(context)};
  } catch (error) {
    return {template, output: null};
  }
});
const file = path.join(__dirname, 'handlebars.json');
const rows = cases.map((row) => `  ${JSON.stringify(row)}`).join(',\n');
fs.writeFileSync(file, `{"context": ${JSON.stringify(context)},\n "cases": [\n${rows}\n]}\n`);
